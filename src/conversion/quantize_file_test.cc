// Files written, read back and run; the same bytes on any number of threads and every instruction
// set; clear sentences for what cannot be.
#include "conversion/quantize_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "conversion/type_mix.h"
#include "model/transformer.h"
#include "quantization/block_formats.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class QuantizeFile : public ::testing::Test {
 protected:
  QuantizeFile()
      : folder_(fs::temp_directory_path() / ("millrace-quantize-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    const auto bytes = MakeTinyModel({});
    std::ofstream(Path("in.gguf"), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    source_ = SourceFromGguf(
                  std::make_shared<const MappedGguf>(MappedGguf::Open(Path("in.gguf")).value()))
                  .value();
  }
  ~QuantizeFile() override { fs::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string Bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Status Write(const char* type, const std::string& out, int threads = 2, Isa isa = Isa::kScalar,
               const ImportanceMatrix* importance = nullptr) {
    const FileTypeInfo info = ParseFileType(type).value();
    ConversionPlan plan;
    plan.types = ChooseTypes(source_, info, {}, importance != nullptr).value();
    plan.importance = importance;
    plan.file_type = info.number;
    ThreadPool pool(threads);
    return WriteConverted(source_, plan, FitKernelsFor(isa), pool, out);
  }
  ImportanceMatrix Importance() const {
    ImportanceMatrix m;
    for (const SourceTensor& t : source_.tensors) {
      if (!IsQuantizable(t)) continue;
      ImportanceEntry e;
      for (int64_t i = 0; i < t.row_length(); ++i)
        e.mean_squares.push_back(static_cast<float>(1 + i % 7));
      m.tensors[t.name] = e;
    }
    return m;
  }

  fs::path folder_;
  ModelSource source_;
};

TEST_F(QuantizeFile, EveryTypeIsReadBackAndRuns) {
  for (const FileTypeInfo& info : FileTypes()) {
    SCOPED_TRACE(info.name);
    const std::string out = Path(std::string(info.name) + ".gguf");
    const Status status = Write(info.name.data(), out);
    ASSERT_TRUE(status.ok()) << status.error().message;
    const auto mapped = MappedGguf::Open(out);
    ASSERT_TRUE(mapped.ok()) << mapped.error().message;
    const GgufFile& file = mapped->file();
    EXPECT_EQ(*file.FindInt("general.file_type", 0, 100).value(), info.number);
    EXPECT_EQ(file.tensors().size(), source_.tensors.size());
    EXPECT_EQ(file.RequireString("tokenizer.ggml.model").value(), "gpt2");
    ThreadPool pool(1);
    auto model = Transformer::Load(file, {}, pool);
    ASSERT_TRUE(model.ok()) << model.error().message;
    KvStore kv = KvStore::Create((*model)->info().kv_shape, KvType::kF32, 1).value();
    const std::vector<TokenId> tokens = {TokenId(1), TokenId(2)};
    const BlockId block[] = {BlockId(0)};
    const auto logits = (*model)->Forward({{{tokens, 0, block, 2}}}, kv);
    for (int64_t i = 0; i < logits.columns; ++i) ASSERT_TRUE(std::isfinite(logits.row(1)[i]));
  }
}

TEST_F(QuantizeFile, TheSameBytesOnAnyThreadsAndInstructionSet) {
  const ImportanceMatrix importance = Importance();
  for (const char* type : {"Q4_K_M", "Q2_K", "Q3_K_M", "IQ4_XS", "MXFP4", "Q4_0"}) {
    for (const ImportanceMatrix* m : {static_cast<const ImportanceMatrix*>(nullptr), &importance}) {
      ASSERT_TRUE(Write(type, Path("first"), 1, Isa::kScalar, m).ok());
      const std::string expected = Bytes(Path("first"));
      for (const Isa isa : SupportedIsas()) {
        ASSERT_TRUE(Write(type, Path("other"), 3, isa, m).ok());
        EXPECT_TRUE(Bytes(Path("other")) == expected) << type << " " << NameOf(isa);
      }
    }
  }
}

TEST_F(QuantizeFile, ImportantColumnsGetSmallerErrors) {
  ImportanceMatrix m = Importance();
  const std::string name = "blk.0.ffn_up.weight";
  auto& values = m.tensors[name].mean_squares;
  for (size_t i = 0; i < values.size(); ++i) values[i] = i % 4 == 0 ? 100.0f : 1.0f;
  const auto error_of_important = [&](const ImportanceMatrix* importance) {
    EXPECT_TRUE(Write("Q2_K", Path("out"), 2, Isa::kScalar, importance).ok());
    const auto mapped = MappedGguf::Open(Path("out"));
    const GgufTensor* t = mapped->file().FindTensor(name);
    const SourceTensor* was = source_.Find(name);
    std::vector<float> is(static_cast<size_t>(t->elements())), x(is.size());
    DequantizeBlocks(t->type, t->data, is);
    was->Read(FitKernelsFor(Isa::kScalar), 0, was->rows(), x);
    double sum = 0;
    for (size_t i = 0; i < x.size(); i += 4) sum += std::pow(is[i] - x[i], 2);
    return sum;
  };
  EXPECT_LT(error_of_important(&m), 0.7 * error_of_important(nullptr));
}

TEST_F(QuantizeFile, WhatCannotBeIsSaid) {
  ImportanceMatrix other;
  other.tensors["elsewhere"] = {{1.0f}, 1};
  EXPECT_THAT(Write("Q4_K_M", Path("out"), 1, Isa::kScalar, &other).error().message,
              HasSubstr("another model"));
  ImportanceMatrix narrow = Importance();
  narrow.tensors.begin()->second.mean_squares.pop_back();
  EXPECT_THAT(Write("Q4_K_M", Path("out"), 1, Isa::kScalar, &narrow).error().message,
              HasSubstr("another model"));
  EXPECT_THAT(Write("Q4_K_M", Path("absent/out")).error().message, HasSubstr("No such file"));
  EXPECT_THAT(Write("Q4_K_M", folder_.string()).error().message, HasSubstr("directory"));
  // A value that is not finite: an error, and nothing is left behind.
  for (SourceTensor& t : source_.tensors) {
    if (t.name == "blk.1.attn_k.weight") t.added = std::nanf("");
  }
  EXPECT_THAT(Write("Q4_K_M", Path("out")).error().message, HasSubstr("blk.1.attn_k.weight"));
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_EQ(entry.path().filename(), "in.gguf");
}

TEST_F(QuantizeFile, OutMayReplaceIn) {
  ASSERT_TRUE(Write("Q8_0", Path("copy")).ok());
  ASSERT_TRUE(Write("Q8_0", Path("in.gguf")).ok());
  EXPECT_TRUE(Bytes(Path("in.gguf")) == Bytes(Path("copy")));
}

}  // namespace
}  // namespace millrace
