#include "nn_ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace millrace {
namespace {

RopeConfig Config(int32_t dimensions, RopePairing pairing = RopePairing::kAdjacent) {
  RopeConfig config;
  config.dimensions = dimensions;
  config.pairing = pairing;
  return config;
}

// The (cos, sin) that pair i of a head gets at a position: what Apply makes of (1, 0) there.
std::pair<double, double> TurnOf(const RopeConfig& config, int32_t position, int32_t pair) {
  const Rope rope(config, position + 1);
  std::vector<float> head(static_cast<size_t>(config.dimensions));
  const int32_t half = config.dimensions / 2;
  const bool adjacent = config.pairing == RopePairing::kAdjacent;
  const size_t first = static_cast<size_t>(adjacent ? 2 * pair : pair);
  const size_t second = static_cast<size_t>(adjacent ? 2 * pair + 1 : pair + half);
  head[first] = 1.0f;
  rope.Apply(NnKernelsFor(DetectIsa()), head.data(), 1, config.dimensions, position);
  return {head[first], head[second]};
}

void ExpectAngle(const RopeConfig& config, int32_t position, int32_t pair, double angle,
                 double magnitude = 1.0) {
  const auto [cos, sin] = TurnOf(config, position, pair);
  // The table is made in double; a large angle moves by its own rounding there.
  const double tolerance = magnitude * (0x1p-23 + std::abs(angle) * 1e-12);
  EXPECT_NEAR(cos, magnitude * std::cos(angle), tolerance) << "pair " << pair;
  EXPECT_NEAR(sin, magnitude * std::sin(angle), tolerance) << "pair " << pair;
}

TEST(Rope, BothPairings) {
  for (RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
    RopeConfig config = Config(64, pairing);
    config.base = 500000.0;
    for (int32_t position : {0, 1, 100, 8191}) {
      for (int32_t pair : {0, 1, 15, 31}) {
        ExpectAngle(config, position, pair, position * std::pow(500000.0, -pair / 32.0));
      }
    }
  }
}

TEST(Rope, LinearScalingDividesThePosition) {
  RopeConfig config = Config(32);
  config.linear_factor = 4.0f;
  for (int32_t pair : {0, 7, 15}) {
    ExpectAngle(config, 1000, pair, 250 * std::pow(10000.0, -pair / 16.0));
  }
}

TEST(Rope, FrequencyFactorsDivide) {
  RopeConfig config = Config(8);
  config.frequency_factors = {1.0f, 2.0f, 8.0f, 32.0f};
  for (int32_t pair = 0; pair < 4; ++pair) {
    const double factor = config.frequency_factors[static_cast<size_t>(pair)];
    ExpectAngle(config, 77, pair, 77 * std::pow(10000.0, -pair / 4.0) / factor);
  }
}

// The formulas of llama.cpp (rope_yarn, rope_yarn_ramp, ggml_rope_yarn_corr_dims), written out for
// 128 dimensions, base 10000, factor 4 over 4096: rotations 32 and 1 lie at dimensions 20.94
// and 45.03, so the ramp is from 20 to 46.
TEST(Rope, YarnAsLlamaCpp) {
  RopeConfig config = Config(128, RopePairing::kHalves);
  config.yarn = YarnConfig{.factor = 4.0f, .original_context = 4096.0f};
  const double magnitude = 1 + 0.1 * std::log(4.0);
  const int32_t position = 5000;
  for (int32_t pair = 0; pair < 64; ++pair) {
    const double extrapolated = position * std::pow(10000.0, -pair / 64.0);
    const double interpolated = extrapolated / 4;
    const double ramp = 1 - std::min(1.0, std::max(0.0, (pair - 20.0) / 26.0));
    ExpectAngle(config, position, pair, interpolated * (1 - ramp) + extrapolated * ramp, magnitude);
  }
  config.yarn->attention_factor = 0.5f;
  config.yarn->extrapolation = 0.0f;  // plain interpolation: no ramp, no magnitude of its own
  ExpectAngle(config, position, 3, position * std::pow(10000.0, -3 / 64.0) / 4, 0.5);
}

TEST(Rope, TheRestOfAHeadPassesThrough) {
  const RopeConfig config = Config(16, RopePairing::kHalves);
  const Rope rope(config, 10);
  std::vector<float> heads(3 * 24);
  for (size_t i = 0; i < heads.size(); ++i) heads[i] = static_cast<float>(i + 1);
  const std::vector<float> before = heads;
  rope.Apply(NnKernelsFor(DetectIsa()), heads.data(), 3, 24, 9);
  for (size_t i = 0; i < heads.size(); ++i) {
    if (i % 24 >= 16) {
      EXPECT_EQ(heads[i], before[i]);
    } else {
      EXPECT_NE(heads[i], before[i]);
    }
  }
}

}  // namespace
}  // namespace millrace
