// Scores against double precision, against themselves, and independent of cutting and batching.
#include "lab/quality.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "base/sanitizer_for_test.h"
#include "lab/row_scores.h"
#include "lab/sensitivity.h"
#include "model/transformer.h"
#include "tests/tiny_model.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

std::vector<float> RandomLogits(int64_t n, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  CounterRng rng(seed, 0);
  for (float& v : x) v = static_cast<float>(20 * rng.NextDouble() - 10);
  return x;
}

double LogSum(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<double>(v));
  return std::log(sum);
}

TEST(RowScores, AgreeWithDoublePrecisionOnEveryIsa) {
  for (const Isa isa : SupportedIsas()) {
    const RowScoreKernels& k = RowScoreKernelsFor(isa);
    for (const int64_t n : {1, 15, 16, 17, 1000, 5003}) {
      const auto a = RandomLogits(n, 1), b = RandomLogits(n, 2);
      const RowSummary p = k.summarise(a.data(), n), q = k.summarise(b.data(), n);
      EXPECT_NEAR(p.log_sum, LogSum(a), 2e-5);
      EXPECT_EQ(p.top, std::max_element(a.begin(), a.end()) - a.begin());
      double expected = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        const double lp = a[i] - LogSum(a), lq = b[i] - LogSum(b);
        expected += std::exp(lp) * (lp - lq);
      }
      EXPECT_NEAR(k.divergence(a.data(), p.log_sum, b.data(), q.log_sum, n), expected,
                  1e-4 + 1e-4 * expected);
      EXPECT_NEAR(k.divergence(a.data(), p.log_sum, a.data(), p.log_sum, n), 0, 1e-6);
      const RowSummary scalar = RowScoreKernelsFor(Isa::kScalar).summarise(a.data(), n);
      EXPECT_EQ(p.log_sum, scalar.log_sum);
    }
  }
}

// From one document to the next.
constexpr int kMoreTokens = kUnderSanitizer ? 3 : 23;

class Quality : public ::testing::Test {
 protected:
  Quality() : pool_(2), bytes_(MakeTinyModel({})), file_(ParseGguf(bytes_, "tiny").value()) {
    model_ = Load();
    CounterRng rng(3, 0);
    for (int32_t d = 0; d < 9; ++d) {
      Document document;
      for (int i = 0; i < 5 + kMoreTokens * d; ++i)
        document.tokens.push_back(TokenId(static_cast<int32_t>(rng.NextU64() % 250)));
      document.first_scored = 1 + d;
      document.cluster = d;
      documents_.push_back(document);
    }
  }
  std::unique_ptr<Transformer> Load() { return Transformer::Load(file_, {}, pool_).value(); }
  std::vector<TokenScore> Score(Model& model, Model* reference, int32_t rows, int64_t bytes) {
    ScoreOptions options;
    options.step_rows = rows;
    options.logit_bytes = bytes;
    return ScoreDocuments(model, reference, documents_, options, pool_).value();
  }

  ThreadPool pool_;
  std::vector<std::byte> bytes_;
  GgufFile file_;
  std::unique_ptr<Transformer> model_;
  std::vector<Document> documents_;
};

TEST_F(Quality, ScoresDoNotDependOnCuttingAndBatching) {
  const auto expected = Score(*model_, nullptr, 512, 1 << 28);
  size_t count = 0;
  for (const Document& d : documents_)
    count += d.tokens.size() - static_cast<size_t>(d.first_scored);
  ASSERT_EQ(expected.size(), count);
  for (const auto& [rows, bytes] : {std::pair{7, 1 << 28}, {64, 9000}, {1, 1}, {300, 1 << 20}}) {
    const auto got = Score(*model_, nullptr, rows, bytes);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(got[i].loss, expected[i].loss) << rows << " " << i;
      ASSERT_EQ(got[i].cluster, expected[i].cluster);
    }
  }
}

TEST_F(Quality, LossIsThatOfTheLogits) {
  const Document& d = documents_[1];
  KvStore kv = KvStore::Create(model_->info().kv_shape, KvType::kBf16, 1).value();
  const BlockId block[] = {BlockId(0)};
  const auto logits =
      model_->Forward({{{d.tokens, 0, block, static_cast<int32_t>(d.tokens.size())}}}, kv);
  const float* row = logits.row(d.first_scored - 1);
  const std::vector<float> values(row, row + logits.columns);
  const int32_t next = d.tokens[static_cast<size_t>(d.first_scored)].value;
  const float expected = static_cast<float>(LogSum(values)) - values[static_cast<size_t>(next)];
  const auto scores = Score(*model_, nullptr, 512, 1 << 28);
  const size_t before =
      documents_[0].tokens.size() - static_cast<size_t>(documents_[0].first_scored);
  EXPECT_NEAR(scores[before].loss, expected, 1e-4);
}

TEST_F(Quality, AModelDoesNotDivergeFromItself) {
  const auto other = Load();
  const QualitySummary s = Summarise(Score(*model_, other.get(), 64, 1 << 20));
  EXPECT_LT(s.divergence.mean, 1e-6);
  EXPECT_EQ(s.same_top.mean, 1);
  EXPECT_EQ(s.log_ratio.mean, 0);
  EXPECT_EQ(s.loss.clusters, 9);
}

// The same model twice, its keys and values kept in other elements: eight bits cost more than
// sixteen, and both little.
TEST_F(Quality, CacheElementsOfTheReferenceAreItsOwn) {
  const auto other = Load();
  const auto divergence = [&](KvType own, std::optional<KvType> reference) {
    ScoreOptions options;
    options.kv_type = own;
    options.reference_kv_type = reference;
    return Summarise(ScoreDocuments(*model_, other.get(), documents_, options, pool_).value())
        .divergence.mean;
  };
  EXPECT_LT(divergence(KvType::kQ8_0, std::nullopt), 1e-6);
  EXPECT_LT(divergence(KvType::kF32, KvType::kF32), 1e-6);
  const double eight = divergence(KvType::kQ8_0, KvType::kF32);
  const double sixteen = divergence(KvType::kBf16, KvType::kF32);
  EXPECT_GT(eight, sixteen);
  EXPECT_GT(sixteen, 0);
  EXPECT_LT(eight, 0.05);
}

TEST_F(Quality, SensitivityLeavesTheModelAsItWas) {
  ScoreOptions options;
  const auto before = Score(*model_, nullptr, 512, 1 << 28);
  auto meter = SensitivityMeter::Create(*model_, documents_, options, pool_);
  ASSERT_TRUE(meter.ok());
  const GgufTensor* t = file_.FindTensor("blk.1.ffn_up.weight");
  // The same weights: no divergence. Zeros: some.
  auto same = WeightMatrix::Pack(t->type, t->rows(), t->row_length(), t->data, pool_).value();
  EXPECT_LT((*meter)->Divergence(t->name, std::move(same))->mean, 1e-6);
  const std::vector<std::byte> zeros(t->data.size());
  auto none = WeightMatrix::Pack(t->type, t->rows(), t->row_length(), zeros, pool_).value();
  EXPECT_GT((*meter)->Divergence(t->name, std::move(none))->mean, 1e-4);
  const auto after = Score(*model_, nullptr, 512, 1 << 28);
  for (size_t i = 0; i < before.size(); ++i) ASSERT_EQ(before[i].loss, after[i].loss);
}

TEST_F(Quality, BadInputIsAnError) {
  const Document empty;
  EXPECT_THAT(ScoreDocuments(*model_, nullptr, {}, {}, pool_).error().message,
              HasSubstr("no text"));
  EXPECT_THAT(ScoreDocuments(*model_, nullptr, {&empty, 1}, {}, pool_).error().message,
              HasSubstr("nothing to score"));
}

TEST(Windows, CoverTheTextAndScoreTheSecondHalf) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < 100; ++i) tokens.push_back(TokenId(i));
  const auto windows = CutIntoWindows(tokens, 32, {TokenId(7)});
  ASSERT_EQ(windows.size(), 3u);  // of 31 tokens each; the rest of 7 is left out
  EXPECT_EQ(windows[1].tokens.size(), 32u);
  EXPECT_EQ(windows[1].tokens[0], TokenId(7));
  EXPECT_EQ(windows[1].tokens[1], TokenId(31));
  EXPECT_EQ(windows[1].first_scored, 16);
  EXPECT_EQ(windows[2].cluster, 2);
  EXPECT_EQ(CutIntoWindows(std::span(tokens).first(5), 32, {}).size(), 1u);
}

}  // namespace
}  // namespace millrace
