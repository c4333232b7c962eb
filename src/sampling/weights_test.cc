#include "sampling/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "sampling/test_support.h"

namespace millrace {
namespace {

std::vector<float> LogitsBelowZero(size_t count, uint64_t seed, double spread) {
  CounterRng rng(seed, 9);
  std::vector<float> logits;
  for (size_t i = 0; i < count; ++i) {
    logits.push_back(static_cast<float>(-spread * rng.NextDouble()));
  }
  logits[count / 2] = 0.0f;
  return logits;
}

std::vector<double> Weigh(Isa isa, const std::vector<float>& logits, float max, double scale) {
  std::vector<double> weights(logits.size());
  WeightKernelsFor(isa).weigh(logits.data(), logits.size(), max, scale, weights.data());
  return weights;
}

TEST(WeightsTest, TheExponential) {
  for (const double spread : {0.01, 1.0, 30.0, 700.0}) {
    const std::vector<float> logits = LogitsBelowZero(1000, 1, spread);
    const std::vector<double> weights = Weigh(Isa::kScalar, logits, 0.0f, 1.0);
    for (size_t i = 0; i < logits.size(); ++i) {
      const double expected = std::exp(static_cast<double>(logits[i]));
      EXPECT_NEAR(weights[i], expected, 1e-15 * expected) << logits[i];
    }
  }
}

TEST(WeightsTest, WhatIsNoNumber) {
  const std::vector<float> logits = {std::numeric_limits<float>::quiet_NaN(), -kInfinity, 3.0f,
                                     -1e30f, 2.0f};
  for (const Isa isa : SupportedIsas()) {
    const std::vector<double> weights = Weigh(isa, logits, 3.0f, 0.5);
    EXPECT_EQ(weights[0], 0.0);
    EXPECT_EQ(weights[1], 0.0);
    EXPECT_EQ(weights[2], 1.0);
    EXPECT_EQ(weights[3], 0.0);
    EXPECT_NEAR(weights[4], std::exp(-0.5), 1e-15);
    EXPECT_EQ(Weigh(isa, {kInfinity, 1.0f}, kInfinity, 1.0), (std::vector{1.0, 0.0}));
  }
}

TEST(WeightsTest, EveryInstructionSetGivesTheSameBits) {
  for (const size_t count : {1u, 7u, 8u, 9u, 100u, 1023u, 1024u}) {
    for (const double scale : {1.0, 0.37, 12.5}) {
      const std::vector<float> logits = LogitsBelowZero(count, count, 60.0);
      const std::vector<double> expected = Weigh(Isa::kScalar, logits, 0.0f, scale);
      for (const Isa isa : SupportedIsas()) {
        const std::vector<double> weights = Weigh(isa, logits, 0.0f, scale);
        EXPECT_EQ(std::memcmp(weights.data(), expected.data(), count * sizeof(double)), 0);
        for (const double least : {0.0, 0.01}) {
          const auto sum = [&](Isa which) {
            return WeightKernelsFor(which).sum(logits.data(), count, 0.0f, scale, least);
          };
          EXPECT_EQ(sum(isa), sum(Isa::kScalar)) << NameOf(isa) << " " << count;
        }
      }
    }
  }
}

TEST(WeightsTest, TheSumLeavesOutWhatIsLess) {
  const std::vector<float> logits = {0.0f, -1.0f, -2.0f};
  const auto sum = [&](double least) {
    return WeightKernelsFor(DetectIsa()).sum(logits.data(), 3, 0.0f, 1.0, least);
  };
  EXPECT_NEAR(sum(0.0), 1 + std::exp(-1.0) + std::exp(-2.0), 1e-15);
  EXPECT_NEAR(sum(0.2), 1 + std::exp(-1.0), 1e-15);
}

}  // namespace
}  // namespace millrace
