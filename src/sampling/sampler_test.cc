#include "sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/rng.h"
#include "sampling/logit_scan.h"
#include "sampling/test_support.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

std::vector<float> RandomLogits(size_t count, uint64_t seed, float spread = 10.0f) {
  CounterRng rng(seed, 0);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = spread * static_cast<float>(rng.NextDouble() - 0.5);
  return logits;
}

Sampler Make(SamplingParams params, size_t vocab) {
  CHECK(Validate(params, static_cast<int32_t>(vocab)).ok());
  return Sampler(std::move(params), static_cast<int32_t>(vocab));
}

int32_t Greedy(SamplingParams params, const std::vector<float>& logits,
               std::vector<int32_t> output = {}, std::vector<int32_t> prompt = {}) {
  params.temperature = 0.0f;
  Sampler sampler = Make(std::move(params), logits.size());
  std::vector<TokenId> ids;
  for (int32_t id : prompt) ids.push_back(TokenId(id));
  sampler.ObservePrompt(ids);
  for (int32_t id : output) sampler.Observe(TokenId(id));
  return sampler.Sample(logits, 0).token.value;
}

// The tokens that come up in many draws.
std::set<int32_t> Support(const SamplingParams& params, const std::vector<float>& logits,
                          int64_t draws = 4000) {
  Sampler sampler = Make(params, logits.size());
  std::set<int32_t> support;
  for (int64_t i = 0; i < draws; ++i) support.insert(sampler.Sample(logits, i).token.value);
  return support;
}

TEST(ScanTest, ArgMaxAgainstTheObviousLoop) {
  for (size_t count : {1, 2, 15, 16, 17, 511, 512, 513, 5000}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      auto logits = RandomLogits(count, seed);
      // Coarse values: many ties, of which the first must win.
      for (float& logit : logits) logit = std::round(logit * 2.0f);
      const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
      EXPECT_EQ(ArgMax(logits).value, expected);
      EXPECT_EQ(MaxOf(logits), logits[static_cast<size_t>(expected)]);
      EXPECT_FALSE(HasNan(logits));
      logits[seed * 7919 % count] = kNan;
      EXPECT_TRUE(HasNan(logits));
    }
  }
}

TEST(SamplerTest, GreedyTakesTheSmallestIdAmongEquals) {
  EXPECT_EQ(Greedy({}, {1.0f, 3.0f, 3.0f, 2.0f}), 1);
  EXPECT_EQ(Greedy({}, {-kInfinity, -5.0f}), 1);
  EXPECT_EQ(Greedy({}, {0.0f, kInfinity, kInfinity}), 1);
}

TEST(SamplerTest, NanNeverWins) {
  EXPECT_EQ(Greedy({}, {kNan, -3.0f, kNan}), 1);
  EXPECT_EQ(Greedy({}, {kNan, kNan, kNan}), 0);
  EXPECT_EQ(Greedy({}, {-kInfinity, -kInfinity}), 0);
  const std::vector<float> some = {kNan, 1.0f, kNan, 1.0f, -kInfinity};
  for (int32_t top_k : {0, 1, 2, 3}) {
    for (float top_p : {1.0f, 0.9f}) {
      for (float min_p : {0.0f, 0.5f}) {
        SamplingParams params{.top_k = top_k, .top_p = top_p, .min_p = min_p};
        params.top_logprobs = 4;
        for (int32_t token : Support(params, some, 200)) EXPECT_TRUE(token == 1 || token == 3);
        EXPECT_EQ(Support(params, {kNan, kNan, kNan}, 10), std::set<int32_t>{0});
        EXPECT_EQ(Support(params, {-kInfinity, -kInfinity}, 10), std::set<int32_t>{0});
        EXPECT_EQ(Support(params, {0.0f, kInfinity, 5.0f}, 10), std::set<int32_t>{1});
      }
    }
  }
}

TEST(SamplerTest, LogitBiasBansAndForces) {
  const std::vector<float> logits = {1.0f, 5.0f, 3.0f};
  EXPECT_EQ(Greedy({.logit_bias = {{TokenId(1), -100.0f}}}, logits), 2);
  EXPECT_EQ(Greedy({.logit_bias = {{TokenId(0), 100.0f}}}, logits), 0);
  EXPECT_EQ(Greedy({.logit_bias = {{TokenId(0), 1.5f}, {TokenId(0), 3.0f}}}, logits), 0);
  EXPECT_EQ(Support({.logit_bias = {{TokenId(1), -100.0f}}}, logits), (std::set<int32_t>{0, 2}));
}

TEST(SamplerTest, RepetitionPenaltyDividesPositiveAndMultipliesNegative) {
  const SamplingParams params{.repetition_penalty = 2.0f};
  EXPECT_EQ(Greedy(params, {5.0f, 3.0f}, {}, {0}), 1);  // the prompt counts: 2.5 < 3
  EXPECT_EQ(Greedy(params, {5.0f, 2.0f}, {}, {0}), 0);  // 2.5 > 2
  EXPECT_EQ(Greedy(params, {5.0f, 3.0f}, {0}), 1);      // the output counts
  EXPECT_EQ(Greedy(params, {5.0f, 2.0f}, {0, 0}), 0);   // once only
  EXPECT_EQ(Greedy(params, {-1.0f, -1.5f}, {0}), 1);    // -2 < -1.5
  EXPECT_EQ(Greedy(params, {-1.0f, -2.5f}, {0}, {0}), 0);
  // Bias comes first: (1 + 4) / 2 = 2.5, not 1 / 2 + 4.
  EXPECT_EQ(
      Greedy({.repetition_penalty = 2.0f, .logit_bias = {{TokenId(0), 4.0f}}}, {1.0f, 3.0f}, {0}),
      1);
}

TEST(SamplerTest, PresenceAndFrequencyCountTheOutputOnly) {
  const SamplingParams presence{.presence_penalty = 1.0f};
  EXPECT_EQ(Greedy(presence, {5.0f, 4.5f}, {0}), 1);
  EXPECT_EQ(Greedy(presence, {5.0f, 3.5f}, {0, 0, 0}), 0);  // once only
  EXPECT_EQ(Greedy(presence, {5.0f, 4.5f}, {}, {0}), 0);    // the prompt does not count
  const SamplingParams frequency{.frequency_penalty = 0.5f};
  EXPECT_EQ(Greedy(frequency, {5.0f, 4.2f}, {0}), 0);
  EXPECT_EQ(Greedy(frequency, {5.0f, 4.2f}, {0, 1, 0}), 0);  // 4.0 > 3.7
  EXPECT_EQ(Greedy(frequency, {5.0f, 4.2f}, {0, 0}), 1);
  EXPECT_EQ(Greedy(frequency, {5.0f, 4.9f}, {}, {0}), 0);
  EXPECT_EQ(Greedy({.presence_penalty = -2.0f}, {5.0f, 3.5f}, {1}), 1);  // negative: a reward
}

TEST(SamplerTest, TopKKeepsTheKBestAndBreaksTiesByTheSmallestId) {
  const std::vector<float> logits = {1.0f, 2.0f, 2.0f, 2.0f, 0.5f};
  EXPECT_EQ(Support({.top_k = 2}, logits), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(Support({.top_k = 4}, logits), (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(Support({.top_k = 500}, logits).size(), 5u);
}

TEST(SamplerTest, TopPKeepsTheFewestThatReachTheMass) {
  // Probabilities 0.5, 0.25, 0.125, 0.125 at ids 3, 1, 0, 2.
  const float step = std::log(2.0f);
  const std::vector<float> logits = {0.0f, step, 0.0f, 2 * step};
  EXPECT_EQ(Support({.top_p = 0.49f}, logits), (std::set<int32_t>{3}));
  EXPECT_EQ(Support({.top_p = 0.6f}, logits), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(Support({.top_p = 0.8f}, logits), (std::set<int32_t>{0, 1, 3}));
  EXPECT_EQ(Support({.top_p = 0.9f}, logits), (std::set<int32_t>{0, 1, 2, 3}));
  // Of what top-k left: 2/3 and 1/3.
  EXPECT_EQ(Support({.top_k = 2, .top_p = 0.6f}, logits), (std::set<int32_t>{3}));
  // After temperature: at 2 the shares are .36 .25 .18 .18 and so on.
  EXPECT_EQ(Support({.temperature = 2.0f, .top_p = 0.49f}, logits), (std::set<int32_t>{1, 3}));
}

TEST(SamplerTest, MinPKeepsAShareOfTheBest) {
  const float step = std::log(2.0f);
  const std::vector<float> logits = {0.0f, step, 0.0f, 2 * step};
  EXPECT_EQ(Support({.min_p = 0.6f}, logits), (std::set<int32_t>{3}));
  EXPECT_EQ(Support({.min_p = 0.4f}, logits), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(Support({.min_p = 0.2f}, logits), (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(Support({.top_k = 3, .min_p = 0.2f}, logits), (std::set<int32_t>{0, 1, 3}));
}

// The kept tokens by the definition: a full sort and every rule in turn.
std::set<int32_t> KeptByDefinition(const SamplingParams& params, const std::vector<float>& logits) {
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  const auto logit = [&](int32_t id) { return double{logits[static_cast<size_t>(id)]}; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(params.top_k)));
  const auto weight = [&](int32_t id) {
    return std::exp((logit(id) - logit(order[0])) / double{params.temperature});
  };
  double total = 0.0;
  for (int32_t id : order) total += weight(id);
  std::set<int32_t> kept;
  double sum = 0.0;
  for (int32_t id : order) {
    if (weight(id) >= double{params.min_p}) kept.insert(id);
    if ((sum += weight(id)) >= double{params.top_p} * total) break;
  }
  return kept;
}

TEST(SamplerTest, EveryDrawIsAmongTheKeptAndAllKeptComeUp) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    CounterRng rng(seed, 99);
    SamplingParams params;
    params.temperature = static_cast<float>(0.3 + rng.NextDouble());
    if (rng.NextU64() % 2) params.top_k = static_cast<int32_t>(rng.NextU64() % 30) + 1;
    if (rng.NextU64() % 2) params.top_p = static_cast<float>(0.3 + 0.69 * rng.NextDouble());
    if (rng.NextU64() % 2) params.min_p = static_cast<float>(0.3 * rng.NextDouble());
    const auto logits = RandomLogits(3000, seed, 30.0f);
    const auto kept = KeptByDefinition(params, logits);
    const auto support = Support(params, logits, 2000);
    EXPECT_TRUE(std::includes(kept.begin(), kept.end(), support.begin(), support.end())) << seed;
    // With min-p no kept token is so rare that 2000 draws would miss it.
    if (params.min_p > 0.1f && kept.size() < 20) {
      EXPECT_EQ(support, kept) << seed;
    }
  }
}

TEST(SamplerTest, WhatCutsNothingChangesNothing) {
  const auto logits = RandomLogits(2000, 5);
  Sampler plain = Make({.seed = 3}, logits.size());
  Sampler all_p = Make({.top_p = 0.99999999f, .seed = 3}, logits.size());
  Sampler all_k = Make({.top_k = 1999, .seed = 3}, logits.size());
  int different = 0;
  for (int64_t i = 0; i < 500; ++i) {
    const TokenId token = plain.Sample(logits, i).token;
    EXPECT_EQ(all_p.Sample(logits, i).token, token);
    different += all_k.Sample(logits, i).token != token ? 1 : 0;  // one token of 2000 is missing
  }
  EXPECT_LT(different, 10);
}

TEST(SamplerTest, ATokenIsAFunctionOfSeedAndPosition) {
  const auto logits = RandomLogits(1000, 1);
  const auto other = RandomLogits(1000, 2);
  const SamplingParams params{.top_k = 100, .top_p = 0.95f, .seed = 42};
  Sampler forwards = Make(params, 1000);
  Sampler backwards = Make(params, 1000);
  std::vector<TokenId> first, second;
  for (int64_t i = 0; i < 100; ++i) first.push_back(forwards.Sample(logits, i).token);
  for (int64_t i = 99; i >= 0; --i) {
    backwards.Sample(other, 7);  // a call in between leaves nothing behind
    second.insert(second.begin(), backwards.Sample(logits, i).token);
  }
  EXPECT_EQ(first, second);
  EXPECT_GT(std::set<TokenId>(first.begin(), first.end()).size(), 10u);

  SamplingParams reseeded = params;
  reseeded.seed = 43;
  Sampler elsewhere = Make(reseeded, 1000);
  int equal = 0;
  for (int64_t i = 0; i < 100; ++i) {
    equal += elsewhere.Sample(logits, i).token == first[static_cast<size_t>(i)] ? 1 : 0;
  }
  EXPECT_LT(equal, 30);
}

TEST(SamplerTest, OnlyObserveChangesLaterAnswers) {
  const auto logits = RandomLogits(50, 1);
  const SamplingParams params{.temperature = 0.0f, .frequency_penalty = 2.0f};
  Sampler sampler = Make(params, 50);
  const TokenId first = sampler.Sample(logits, 0).token;
  EXPECT_EQ(sampler.Sample(logits, 0).token, first);
  for (int i = 0; i < 10; ++i) sampler.Observe(first);
  EXPECT_NE(sampler.Sample(logits, 0).token, first);
}

TEST(SamplerTest, LogprobsAreTheModelsOwn) {
  const float step = std::log(2.0f);
  const std::vector<float> logits = {0.0f, step, 0.0f, 2 * step};  // 1/8, 1/4, 1/8, 1/2
  SamplingParams params{
      .temperature = 0.0f, .logit_bias = {{TokenId(2), 100.0f}}, .top_logprobs = 3};
  Sampler sampler = Make(params, 4);
  const Sampled sampled = sampler.Sample(logits, 0);
  EXPECT_EQ(sampled.token, TokenId(2));
  EXPECT_NEAR(sampled.logprob, std::log(0.125), 1e-6);
  ASSERT_EQ(sampled.top_logprobs.size(), 3u);
  EXPECT_EQ(sampled.top_logprobs[0].token, TokenId(3));
  EXPECT_NEAR(sampled.top_logprobs[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(sampled.top_logprobs[1].token, TokenId(1));
  EXPECT_EQ(sampled.top_logprobs[2].token, TokenId(0));  // before 2, its equal
}

TEST(SamplerTest, LogprobsWhenAskedAndFinite) {
  const std::vector<float> logits = {1.0f, 0.0f, kNan, -kInfinity};
  Sampler none = Make({.temperature = 0.0f}, 4);
  EXPECT_TRUE(none.Sample(logits, 0).top_logprobs.empty());
  Sampler zero = Make({.temperature = 0.0f, .top_logprobs = 0}, 4);
  EXPECT_NEAR(zero.Sample(logits, 0).logprob, -std::log(1.0 + std::exp(-1.0)), 1e-6);
  EXPECT_TRUE(zero.Sample(logits, 0).top_logprobs.empty());
  Sampler many = Make({.temperature = 0.0f, .top_logprobs = 20}, 4);
  EXPECT_EQ(many.Sample(logits, 0).top_logprobs.size(), 2u);
  EXPECT_EQ(many.Sample(std::vector<float>(4, kNan), 0).logprob, kLowestLogprob);
  EXPECT_EQ(many.Sample(std::vector<float>{0.0f, kInfinity, 0.0f, 0.0f}, 0).logprob, 0.0f);
  const auto flat = RandomLogits(100'000, 3);
  Sampler large = Make({.top_logprobs = 20}, flat.size());
  double sum = 0.0;
  for (float logit : flat) sum += std::exp(double{logit});
  const Sampled sampled = large.Sample(flat, 0);
  EXPECT_NEAR(sampled.logprob, flat[static_cast<size_t>(sampled.token.value)] - std::log(sum),
              1e-5);
}

TEST(SamplerTest, TinyTemperatureIsGreedy) {
  const auto logits = RandomLogits(1000, 8);
  Sampler sampler = Make({.temperature = 1e-38f}, 1000);
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(sampler.Sample(logits, i).token, ArgMax(logits));
}

// A mask stands above everything else: bias, penalties and temperature move only what it allows.
TEST(Sampler, AMaskForbidsWhateverTheRestSays) {
  constexpr int32_t kVocab = 130;  // two words of the mask and a bit
  std::vector<float> logits(kVocab, 0.0f);
  logits[3] = 50.0f;
  logits[128] = 1.0f;
  logits[129] = 40.0f;
  const std::vector<uint64_t> allowed = {uint64_t{1} << 7, ~uint64_t{0}, uint64_t{1}};
  SamplingParams greedy;
  greedy.temperature = 0.0f;
  greedy.logit_bias = {{TokenId(3), 100.0f}};
  EXPECT_EQ(Sampler(greedy, kVocab).Sample(logits, 0).token, TokenId(3));
  EXPECT_EQ(Sampler(greedy, kVocab).Sample(logits, 0, allowed).token, TokenId(128));
  // Tokens behind the last word are forbidden.
  const std::vector<uint64_t> first = {uint64_t{1} << 7};
  EXPECT_EQ(Sampler(greedy, kVocab).Sample(logits, 0, first).token, TokenId(7));
  SamplingParams hot;
  hot.temperature = 2.0f;
  hot.seed = 9;
  std::vector<int> seen(kVocab, 0);
  Sampler sampler(hot, kVocab);
  for (int position = 0; position < 2000; ++position) {
    ++seen[static_cast<size_t>(sampler.Sample(logits, position, allowed).token.value)];
  }
  for (int32_t token = 0; token < kVocab; ++token) {
    const bool may = token == 7 || (token >= 64 && token <= 128);
    EXPECT_EQ(seen[static_cast<size_t>(token)] > 0, may) << token;
  }
}

}  // namespace
}  // namespace millrace
