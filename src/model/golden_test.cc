// Logits and greedy tokens against llama.cpp's, in float32, for every architecture, instruction set
// and kind of attention.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gguf/gguf.h"
#include "model/transformer.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

struct Case {
  std::string architecture;
  Isa isa;
  AttentionKind attention;
};

std::string GoldenPath(const std::string& file) { return SourceDir() + "/tests/golden/" + file; }

std::vector<float> ReadFloats(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::vector<float> values(static_cast<size_t>(in.tellg()) / sizeof(float));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(values.data()),
          static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

// |found - expected| / |expected|, as vectors.
double GoldenError(MatrixView<const float> found, const std::vector<float>& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(found.data[i]) - expected[i];
    difference += d * d;
    norm += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(difference / norm);
}

class Golden : public testing::TestWithParam<Case> {};

TEST_P(Golden, LogitsAndGreedyTokensAgree) {
  const Case& c = GetParam();
  const auto json = nlohmann::json::parse(std::ifstream(GoldenPath(c.architecture + ".json")));
  const std::vector<float> expected = ReadFloats(GoldenPath(c.architecture + ".logits.f32"));
  auto mapped = MappedGguf::Open(GoldenPath(c.architecture + ".gguf"));
  ASSERT_TRUE(mapped.ok()) << mapped.error().message;
  ThreadPool pool(2);
  TransformerOptions options;
  options.isa = c.isa;
  options.attention = c.attention;
  options.max_positions = 128;
  auto model = Transformer::Load(mapped->file(), options, pool);
  ASSERT_TRUE(model.ok()) << model.error().message;
  auto kv = KvStore::Create((*model)->info().kv_shape, KvType::kF32, 4);
  ASSERT_TRUE(kv.ok());
  const std::vector<BlockId> table = {BlockId(2), BlockId(0), BlockId(3), BlockId(1)};

  std::vector<TokenId> tokens;
  for (const int id : json["tokens"]) tokens.push_back(TokenId(id));
  Batch batch;
  batch.sequences.push_back({tokens, 0, table, static_cast<int32_t>(tokens.size())});
  MatrixView<const float> logits = (*model)->Forward(batch, *kv);
  ASSERT_EQ(static_cast<size_t>(logits.rows * logits.columns), expected.size());
  const double relative = GoldenError(logits, expected);
  RecordProperty("relative_error", std::to_string(relative));
  EXPECT_LT(relative, 1e-4);

  auto position = static_cast<int32_t>(tokens.size());
  std::vector<int> greedy;
  for (int i = 0; i < 16; ++i) {
    const float* row = logits.row(logits.rows - 1);
    const auto best = static_cast<int>(std::max_element(row, row + logits.columns) - row);
    greedy.push_back(best);
    const TokenId token(best);
    Batch step;
    step.sequences.push_back({{&token, 1}, position++, table, 1});
    logits = (*model)->Forward(step, *kv);
  }
  EXPECT_EQ(greedy, json["greedy"].get<std::vector<int>>());

  // Under a LoRA adapter of rank 6, with alpha 12 and scale 0.5.
  const std::vector<float> adapted = ReadFloats(GoldenPath(c.architecture + ".lora.logits.f32"));
  auto adapter = MappedGguf::Open(GoldenPath(c.architecture + ".lora.gguf"));
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  const Status added = (*model)->AddAdapter({"golden", "golden"}, adapter->file(), 0.5f);
  ASSERT_TRUE(added.ok()) << added.error().message;
  batch.sequences[0].adapter = AdapterId(0);
  logits = (*model)->Forward(batch, *kv);
  ASSERT_EQ(static_cast<size_t>(logits.rows * logits.columns), adapted.size());
  const double relative_adapted = GoldenError(logits, adapted);
  RecordProperty("relative_error_adapted", std::to_string(relative_adapted));
  EXPECT_LT(relative_adapted, 1e-4);
  EXPECT_GT(GoldenError(logits, expected), 0.3) << "the adapter should matter";
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"}) {
    for (const Isa isa : SupportedIsas()) {
      for (const AttentionKind kind : {AttentionKind::kFlash, AttentionKind::kStandard}) {
        cases.push_back({architecture, isa, kind});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Architectures, Golden, testing::ValuesIn(Cases()), [](const auto& param) {
  return param.param.architecture + "_" + std::string(NameOf(param.param.isa)) +
         (param.param.attention == AttentionKind::kFlash ? "_flash" : "_standard");
});

}  // namespace
}  // namespace millrace
