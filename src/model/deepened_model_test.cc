#include "model/deepened_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "model/transformer.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

std::vector<float> LogitsOf(std::span<const std::byte> bytes, int32_t layers) {
  ThreadPool pool(1);
  const auto file = ParseGguf(bytes, "test.gguf");
  EXPECT_TRUE(file.ok());
  auto model = Transformer::Load(*file, {.max_positions = 64, .weights = {}}, pool);
  EXPECT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ((*model)->config().layers, layers);
  auto kv = KvStore::Create((*model)->info().kv_shape, KvType::kF32, 2);
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < 40; ++i) tokens.emplace_back(i * 7 % 250);
  const std::vector<BlockId> table = {BlockId(0), BlockId(1)};
  const auto logits = (*model)->Forward(
      {{{.tokens = tokens, .first_position = 0, .block_table = table, .logit_rows = 40}}}, *kv);
  return {logits.data, logits.data + logits.rows * logits.columns};
}

TEST(DeepenedModelTest, ComputesTheSameBits) {
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"}) {
    TinyModelSpec spec;
    spec.architecture = architecture;
    spec.type = DType::kQ8_0;
    const std::vector<std::byte> bytes = MakeTinyModel(spec);
    const auto file = ParseGguf(bytes, "tiny.gguf");
    ASSERT_TRUE(file.ok());
    GgufWriter writer;
    ASSERT_TRUE(AddDeepenedModel(*file, 3, writer).ok());
    EXPECT_EQ(LogitsOf(writer.Serialize(), 6), LogitsOf(bytes, 2)) << architecture;
  }
}

TEST(DeepenedModelTest, RefusesMoreLayersThanAFileMayHave) {
  const std::vector<std::byte> bytes = MakeTinyModel({});
  const auto file = ParseGguf(bytes, "tiny.gguf");
  GgufWriter writer;
  const Status status = AddDeepenedModel(*file, 1 << 20, writer);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, testing::HasSubstr("as deep"));
}

}  // namespace
}  // namespace millrace
