// For the tests of embeddings: tiny models in memory, and what they compute.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embedding/embedding_model.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "tests/tiny_encoder.h"
#include "tests/tiny_model.h"

namespace millrace {

struct TestModel {
  std::vector<std::byte> bytes;
  std::unique_ptr<GgufFile> file;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<EmbeddingModel> model;
};

inline TestModel LoadTestBytes(std::vector<std::byte> bytes, int threads = 2,
                               std::optional<Pooling> pooling = {}) {
  TestModel m;
  m.bytes = std::move(bytes);
  m.file = std::make_unique<GgufFile>(ParseGguf(m.bytes, "tiny.gguf").value());
  m.pool = std::make_unique<ThreadPool>(threads);
  EmbeddingOptions options;
  options.isa = DetectIsa();
  options.kv_type = KvType::kF32;
  options.pooling = pooling;
  auto model = EmbeddingModel::Load(*m.file, options, *m.pool);
  EXPECT_TRUE(model.ok()) << model.error().message;
  m.model = std::move(model).value();
  return m;
}

inline TestModel LoadTestModel(const TinyEncoderSpec& spec, int threads = 2) {
  return LoadTestBytes(MakeTinyEncoder(spec), threads);
}

inline std::vector<int32_t> Numbers(const std::vector<TokenId>& tokens) {
  std::vector<int32_t> numbers;
  for (TokenId t : tokens) numbers.push_back(t.value);
  return numbers;
}

inline std::vector<float> ComputeOne(EmbeddingModel& model, const EmbeddingText& text) {
  std::vector<float> out(static_cast<size_t>(model.outputs()));
  const EmbeddingText* const texts[] = {&text};
  model.Compute(texts, out);
  return out;
}

// `one` text after the other gives the bits that `other` gives of all at once.
inline void ExpectBatchesAgree(EmbeddingModel& one, EmbeddingModel& other) {
  std::vector<EmbeddingText> texts;
  for (const char* words : {"a", "the mill race is the channel that brings water to the wheel.", "",
                            "how well, the mill works", "x, y, z. x, y, z. x, y, z. x, y, z."}) {
    texts.push_back(one.Encode(words));
    if (texts.back().tokens.empty()) texts.pop_back();  // a decoder's empty text
  }
  std::vector<const EmbeddingText*> views;
  std::vector<float> alone;
  for (const EmbeddingText& text : texts) {
    views.push_back(&text);
    const std::vector<float> out = ComputeOne(one, text);
    alone.insert(alone.end(), out.begin(), out.end());
  }
  std::vector<float> together(alone.size());
  other.Compute(views, together);
  EXPECT_EQ(std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)), 0);
}

// A copy of a file without some of its metadata and tensors.
inline std::vector<std::byte> Without(const std::vector<std::byte>& bytes,
                                      const std::vector<std::string_view>& names) {
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  const auto is_left_out = [&](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) {
    if (!is_left_out(key)) writer.AddRaw(key, file.RawValue(key));
  }
  for (const GgufTensor& t : file.tensors()) {
    if (!is_left_out(t.name)) writer.AddTensor(t.name, t.type, t.shape, t.data);
  }
  return writer.Serialize();
}

// A decoder whose vocabulary is larger than its width, and whose output matrix is the unit matrix
// with rows of zeros below: logit i is hidden element i.
inline std::vector<std::byte> TinyDecoderWithUnitOutput(const std::string& architecture) {
  TinyModelSpec spec;
  spec.architecture = architecture;
  spec.tied = false;
  spec.width = 128;
  spec.ff_width = 192;
  const std::vector<std::byte> bytes = Without(MakeTinyModel(spec), {});
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) writer.AddRaw(key, file.RawValue(key));
  std::vector<float> unit(259 * 128, 0.0f);
  for (size_t i = 0; i < 128; ++i) unit[i * 128 + i] = 1.0f;
  for (const GgufTensor& t : file.tensors()) {
    const bool is_output = t.name == "output.weight";
    writer.AddTensor(t.name, t.type, t.shape,
                     is_output ? std::as_bytes(std::span<const float>(unit)) : t.data);
  }
  return writer.Serialize();
}

}  // namespace millrace
