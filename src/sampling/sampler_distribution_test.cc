// Whether the draws have the distribution that the parameters ask for: chi-square on fixed seeds,
// and the proof that the test would notice a sampler that is slightly off.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "sampling/sampler.h"

namespace millrace {
namespace {

constexpr size_t kVocab = 12;
constexpr int64_t kDraws = 60'000;

std::vector<float> Logits() {
  std::vector<float> logits;
  for (size_t i = 0; i < kVocab; ++i) logits.push_back(0.25f * static_cast<float>(i * 5 % kVocab));
  return logits;
}

// softmax(logits / temperature) over the tokens for which `kept`, in double.
template <class Kept>
std::vector<double> Softmax(const std::vector<float>& logits, double temperature, Kept kept) {
  std::vector<double> probabilities;
  double total = 0.0;
  for (float logit : logits) {
    probabilities.push_back(kept(logit) ? std::exp(double{logit} / temperature) : 0.0);
    total += probabilities.back();
  }
  for (double& probability : probabilities) probability /= total;
  return probabilities;
}

// Pearson's statistic; infinite where a token of probability zero came up.
double ChiSquare(const std::vector<int64_t>& counts, const std::vector<double>& expected) {
  double statistic = 0.0;
  int64_t draws = 0;
  for (int64_t count : counts) draws += count;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double mean = expected[i] * static_cast<double>(draws);
    if (mean == 0.0) {
      if (counts[i] > 0) return INFINITY;
      continue;
    }
    const double difference = static_cast<double>(counts[i]) - mean;
    statistic += difference * difference / mean;
  }
  return statistic;
}

// The 0.9999 quantiles of chi-square with 11, and an upper bound for fewer, degrees of freedom.
constexpr double kLimit = 37.37;

std::vector<int64_t> Counts(const SamplingParams& params, const std::vector<float>& logits) {
  Sampler sampler(params, static_cast<int32_t>(logits.size()));
  std::vector<int64_t> counts(logits.size());
  for (int64_t i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(sampler.Sample(logits, i).token.value)];
  }
  return counts;
}

TEST(DistributionTest, TemperatureOnly) {
  const auto all = [](float) { return true; };
  for (uint64_t seed : {1, 2, 3}) {
    for (float temperature : {0.5f, 1.0f, 2.0f}) {
      const auto counts = Counts({.temperature = temperature, .seed = seed}, Logits());
      EXPECT_LT(ChiSquare(counts, Softmax(Logits(), double{temperature}, all)), kLimit);
    }
  }
}

TEST(DistributionTest, TruncatedDistributionsAreRenormalised) {
  // The logits are 0, 0.25, ... 2.75 in some order: the four best are those from 2.0 on.
  const auto four_best = [](float logit) { return logit > 1.9f; };
  const auto expected = Softmax(Logits(), 1.0, four_best);
  EXPECT_LT(ChiSquare(Counts({.top_k = 4, .seed = 5}, Logits()), expected), kLimit);
  EXPECT_LT(ChiSquare(Counts({.min_p = 0.45f, .seed = 6}, Logits()), expected), kLimit);
  // Their share of the whole is 0.653; that of the three best 0.528.
  EXPECT_LT(ChiSquare(Counts({.top_p = 0.6f, .seed = 7}, Logits()), expected), kLimit);
}

TEST(DistributionTest, SeedsAtOnePositionAreIndependentToo) {
  // A server gives every request its own seed: the first tokens of many requests.
  const auto logits = Logits();
  std::vector<int64_t> counts(kVocab);
  for (int64_t seed = 0; seed < kDraws; ++seed) {
    Sampler sampler({.seed = static_cast<uint64_t>(seed)}, kVocab);
    ++counts[static_cast<size_t>(sampler.Sample(logits, 10).token.value)];
  }
  EXPECT_LT(ChiSquare(counts, Softmax(logits, 1.0, [](float) { return true; })), kLimit);
}

TEST(DistributionTest, LargeVocabulariesAreDrawnFromEndToEnd) {
  // 5000 equal logits, of which the chunked sums see ten: counted in 10 bins of 500.
  const std::vector<float> logits(5000, 1.0f);
  Sampler sampler({.seed = 11}, 5000);
  std::vector<int64_t> bins(10);
  for (int64_t i = 0; i < 20'000; ++i) {
    ++bins[static_cast<size_t>(sampler.Sample(logits, i).token.value / 500)];
  }
  EXPECT_LT(ChiSquare(bins, std::vector<double>(10, 0.1)), kLimit);
}

TEST(DistributionTest, ABiasedSamplerFails) {
  const auto expected = Softmax(Logits(), 1.0, [](float) { return true; });
  EXPECT_GT(ChiSquare(Counts({.temperature = 0.95f, .seed = 1}, Logits()), expected), kLimit);
  EXPECT_GT(ChiSquare(Counts({.top_k = 11, .seed = 1}, Logits()), expected), kLimit);
  auto nudged = Logits();
  nudged[3] += 0.15f;
  EXPECT_GT(ChiSquare(Counts({.seed = 1}, nudged), expected), kLimit);
  // A walk that is off by one: each token stands for its neighbour.
  auto shifted = Counts({.seed = 1}, Logits());
  std::rotate(shifted.begin(), shifted.begin() + 1, shifted.end());
  EXPECT_GT(ChiSquare(shifted, expected), kLimit);
}

}  // namespace
}  // namespace millrace
