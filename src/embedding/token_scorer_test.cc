#include "embedding/token_scorer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gguf/gguf.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

// Against log softmax in double of the logits of a Forward of all rows at once, written out.
TEST(TokenScorer, IsTheModelsLossOfEachToken) {
  const std::vector<std::byte> bytes = MakeTinyModel({});
  const GgufFile file = ParseGguf(bytes, "tiny.gguf").value();
  ThreadPool pool(2);
  const auto scorer = TokenScorer::Load(file, DetectIsa(), {}, pool).value();
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < 150; ++i) tokens.push_back(TokenId(i * 37 % 200));
  const auto surprises = scorer->Surprises(tokens);
  ASSERT_TRUE(surprises.ok()) << surprises.error().message;
  ASSERT_EQ(surprises->size(), tokens.size() - 1);
  TransformerOptions options;
  options.isa = DetectIsa();
  const auto model = Transformer::Load(file, options, pool).value();
  KvStore kv = KvStore::Create(model->info().kv_shape, KvType::kBf16, BlocksFor(150)).value();
  std::vector<BlockId> blocks;
  for (int32_t b = 0; b < BlocksFor(150); ++b) blocks.push_back(BlockId(b));
  Batch batch;
  batch.sequences.push_back({tokens, 0, blocks, 150});
  const MatrixView<const float> logits = model->Forward(batch, kv);
  for (int64_t i = 0; i + 1 < 150; ++i) {
    double sum = 0;
    for (int64_t t = 0; t < logits.columns; ++t) sum += std::exp(double{logits.row(i)[t]});
    const double expected = std::log(sum) - logits.row(i)[tokens[static_cast<size_t>(i) + 1].value];
    EXPECT_NEAR((*surprises)[static_cast<size_t>(i)], expected, 1e-3) << i;
  }
  EXPECT_EQ(scorer->Surprises(tokens).value(), *surprises);
  EXPECT_TRUE(scorer->Surprises(std::span(tokens).first(1)).value().empty());
  EXPECT_FALSE(scorer->Surprises({}).ok());
  EXPECT_FALSE(scorer->Surprises(std::vector<TokenId>(513, TokenId(1))).ok());
  const TokenId outside[] = {TokenId(1), TokenId(1 << 20)};
  EXPECT_FALSE(scorer->Surprises(outside).ok());
}

}  // namespace
}  // namespace millrace
