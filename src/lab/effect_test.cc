// Against values worked out by hand or from tables, and the promise itself: how often the verdicts
// are wrong on simulated experiments with what a shared machine does to timings.
#include "lab/effect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace millrace {
namespace {

TEST(StudentQuantile, Tables) {
  EXPECT_NEAR(StudentQuantile(0.975, 7), 2.365, 5e-4);
  EXPECT_NEAR(StudentQuantile(0.975, 1), 12.706, 5e-4);
  EXPECT_NEAR(StudentQuantile(0.95, 29), 1.699, 5e-4);
}

TEST(PairedEffect, ByHand) {
  // Mean 0.1, deviations -0.01, 0, 0.01: s = 0.01; half = 4.303 * 0.01 / sqrt(3) = 0.024843.
  const Effect e = PairedEffect(std::vector<double>{0.09, 0.10, 0.11});
  EXPECT_NEAR(e.ratio, std::exp(0.1), 1e-12);
  EXPECT_NEAR(e.deviation, 0.01, 1e-12);
  EXPECT_NEAR(std::log(e.interval.low), 0.1 - 0.024843, 1e-5);
  EXPECT_NEAR(std::log(e.interval.high), 0.1 + 0.024843, 1e-5);
  EXPECT_NEAR(std::log(e.bounds.low), 0.1 - 2.920 * 0.01 / std::sqrt(3), 1e-5);
  EXPECT_EQ(e.p, 0.25);  // all signs alike: 2 of 8
}

TEST(PairedEffect, SignFlipCountsOutcomesAtLeastAsFar) {
  // {1, 2, 3, -4}: the sum is 2. |sum| < 2 needs +-1+-2+-3+-4 = 0: {1,-2,-3,4} and {-1,2,3,-4}.
  EXPECT_EQ(PairedEffect(std::vector<double>{1, 2, 3, -4}).p, 14.0 / 16);
  EXPECT_EQ(PairedEffect(std::vector<double>(8, 0.2)).p, 2.0 / 256);
  EXPECT_EQ(PairedEffect(std::vector<double>(8, 0.0)).p, 1);
}

TEST(PairedEffect, OneRoundSaysNothing) {
  const Effect one = PairedEffect(std::vector<double>{1.0});
  EXPECT_TRUE(std::isinf(one.interval.high));
  EXPECT_EQ(one.p, 1);
  EXPECT_EQ(Decide(one, one.p, Better::kLower), EffectVerdict::kUndecided);
  EXPECT_EQ(Decide(PairedEffect({}), 1, Better::kLower), EffectVerdict::kUndecided);
}

TEST(Holm, ByHand) {
  // 0.01 * 3, 0.03 * 2, then not less than the one before: 0.04 * 1 -> 0.06.
  const auto adjusted = HolmAdjusted(std::vector<double>{0.04, 0.01, 0.03});
  EXPECT_NEAR(adjusted[0], 0.06, 1e-12);
  EXPECT_NEAR(adjusted[1], 0.03, 1e-12);
  EXPECT_NEAR(adjusted[2], 0.06, 1e-12);
  EXPECT_EQ(HolmAdjusted(std::vector<double>{0.9, 0.8})[0], 1);
}

// 2 / 2^8 is 0.0078: six times that is 0.047, seven times 0.055.
TEST(Holm, RoundsThatManyTestsNeed) {
  EXPECT_EQ(LeastRounds(1), 6);
  EXPECT_EQ(LeastRounds(6), 8);
  EXPECT_EQ(LeastRounds(7), 9);
  std::vector<double> clear(9);
  for (size_t i = 0; i < clear.size(); ++i) clear[i] = -0.5 - 0.001 * static_cast<double>(i);
  const double nine = PairedEffect(clear).p;
  const double eight = PairedEffect(std::span(clear).first(8)).p;
  EXPECT_LE(HolmAdjusted(std::vector<double>(7, nine))[0], 0.05);
  EXPECT_GT(HolmAdjusted(std::vector<double>(7, eight))[0], 0.05);
}

Effect Known(double low, double high) {
  Effect e;
  e.rounds = 8;
  e.bounds = {low, high};
  return e;
}

TEST(Decide, TheBandAndTheDirection) {
  EXPECT_EQ(Decide(Known(0.8, 0.96), 0.01, Better::kLower), EffectVerdict::kHelps);
  EXPECT_EQ(Decide(Known(0.8, 0.96), 0.01, Better::kHigher), EffectVerdict::kHurts);
  EXPECT_EQ(Decide(Known(1.04, 1.5), 0.01, Better::kLower), EffectVerdict::kHurts);
  EXPECT_EQ(Decide(Known(1.04, 1.5), 0.01, Better::kHigher), EffectVerdict::kHelps);
  EXPECT_EQ(Decide(Known(1.04, 1.5), 0.06, Better::kHigher), EffectVerdict::kUndecided);  // Holm
  EXPECT_EQ(Decide(Known(0.98, 1.02), 0.5, Better::kLower), EffectVerdict::kNoPracticalEffect);
  EXPECT_EQ(Decide(Known(1.005, 1.02), 0.01, Better::kLower), EffectVerdict::kNoPracticalEffect);
  EXPECT_EQ(Decide(Known(1.01, 1.2), 0.01, Better::kLower), EffectVerdict::kUndecided);
}

TEST(DetectableEffect, GrowsWithNoiseAndShrinksWithRounds) {
  // (1.8946 + 1.1192) * 0.04 / sqrt(8) = 0.04262; the band on top.
  EXPECT_NEAR(DetectableEffect(0.04, 8), 0.03 + std::expm1(0.04262), 2e-4);
  EXPECT_GT(DetectableEffect(0.08, 8), DetectableEffect(0.04, 8));
  EXPECT_LT(DetectableEffect(0.04, 16), DetectableEffect(0.04, 8));
  EXPECT_TRUE(std::isinf(DetectableEffect(0.04, 1)));
}

// Log times on a shared machine: the machine drifts (a random walk and a trend over the
// experiment), neighbours make noise that lasts (first-order autoregressive), and now and then a
// run is hit by a spike of up to 30 %. Runs within a round are neighbours in time; their order is
// random.
class NoisyMachine {
 public:
  explicit NoisyMachine(uint64_t seed) : random_(seed) {
    trend_ = normal_(random_) * 0.01;
    drift_ = normal_(random_) * 0.1;
  }
  double Run() {
    drift_ += trend_ + 0.01 * normal_(random_);
    lasting_ = 0.6 * lasting_ + 0.02 * normal_(random_);
    const double spike = uniform_(random_) < 0.03 ? 0.3 * uniform_(random_) : 0;
    return drift_ + lasting_ + spike + 0.01 * normal_(random_);
  }
  uint64_t Below(uint64_t n) { return random_() % n; }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
  double trend_ = 0, drift_ = 0, lasting_ = 0;
};

struct Outcome {
  bool interval_misses = false;  // of the first candidate, uncorrected
  bool family_rejects = false;   // some candidate's adjusted p <= 0.05
  std::vector<EffectVerdict> verdicts;
  double deviation = 0;  // of the first candidate's d between rounds
};

// Eight rounds of a baseline and three candidates, the first of which takes exp(effect) as long.
Outcome Experiment(uint64_t seed, double effect) {
  constexpr size_t kConfigurations = 4, kRounds = 8;
  NoisyMachine machine(seed);
  std::vector<std::vector<double>> d(kConfigurations - 1);
  for (size_t round = 0; round < kRounds; ++round) {
    std::vector<size_t> order = {0, 1, 2, 3};
    for (size_t i = kConfigurations; i > 1; --i) std::swap(order[i - 1], order[machine.Below(i)]);
    std::vector<double> log_time(kConfigurations);
    for (const size_t c : order) log_time[c] = machine.Run() + (c == 1 ? effect : 0);
    for (size_t c = 1; c < kConfigurations; ++c) d[c - 1].push_back(log_time[c] - log_time[0]);
  }
  std::vector<Effect> effects;
  std::vector<double> p;
  for (const auto& differences : d) {
    effects.push_back(PairedEffect(differences));
    p.push_back(effects.back().p);
  }
  const auto adjusted = HolmAdjusted(p);
  Outcome outcome;
  outcome.interval_misses = effects[0].interval.low > 1 || effects[0].interval.high < 1;
  outcome.deviation = effects[0].deviation;
  for (size_t c = 0; c < effects.size(); ++c) {
    outcome.family_rejects = outcome.family_rejects || adjusted[c] <= 0.05;
    outcome.verdicts.push_back(Decide(effects[c], adjusted[c], Better::kLower));
  }
  return outcome;
}

TEST(Calibration, NullExperimentsAreCalledNull) {
  constexpr int kExperiments = 5000;
  int misses = 0, family = 0, verdicts = 0;
  for (int i = 0; i < kExperiments; ++i) {
    const Outcome o = Experiment(static_cast<uint64_t>(i), 0);
    misses += o.interval_misses ? 1 : 0;
    family += o.family_rejects ? 1 : 0;
    bool any = false;
    for (const EffectVerdict v : o.verdicts)
      any = any || v == EffectVerdict::kHelps || v == EffectVerdict::kHurts;
    verdicts += any ? 1 : 0;
  }
  const auto share = [](int count) { return static_cast<double>(count) / kExperiments; };
  std::printf(
      "A/A, 5000 experiments: interval misses 1 in %.4f; some of 3 candidates rejected in %.4f; "
      "called helps or hurts in %.4f\n",
      share(misses), share(family), share(verdicts));
  EXPECT_LE(share(misses), 0.06);
  EXPECT_LE(share(family), 0.06);
  EXPECT_LE(share(verdicts), 0.06);
  EXPECT_GE(share(misses), 0.03);  // and the simulation is not too tame to miss anything
}

TEST(Calibration, TenPercentIsFoundAndOnePercentIsNot) {
  constexpr int kExperiments = 2000;
  int found = 0, wrong = 0;
  double deviation = 0;
  for (int i = 0; i < kExperiments; ++i) {
    const auto seed = static_cast<uint64_t>(100'000 + i);
    found += Experiment(seed, std::log(1.1)).verdicts[0] == EffectVerdict::kHurts ? 1 : 0;
    deviation += Experiment(seed, 0).deviation / kExperiments;
    const EffectVerdict small = Experiment(seed, std::log(1.01)).verdicts[0];
    wrong += small == EffectVerdict::kHurts || small == EffectVerdict::kHelps ? 1 : 0;
  }
  std::printf(
      "10 %% slower: found in %.4f of %d; 1 %%: called an effect in %.4f; deviation of d %.4f\n",
      found / double{kExperiments}, kExperiments, wrong / double{kExperiments}, deviation);
  EXPECT_GE(found, 0.85 * kExperiments);
  EXPECT_LE(wrong, 0.02 * kExperiments);
}

}  // namespace
}  // namespace millrace
