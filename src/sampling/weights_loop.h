// The loops of weights.h, for a compiler to make vectors of: included once by the file of each
// instruction set, which is compiled with its flags. Internal to sampling/.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sampling/weights.h"

namespace millrace {
namespace {

constexpr size_t kSumLanes = 8;

// exp(x) = 2^n exp(r) with n = round(x / ln 2). Adding 1.5 * 2^52 rounds to an integer and leaves
// it in the lowest bits. Without branches, and without functions that the linker might share.
inline double WeightOf(float logit, float max, double scale) {
  constexpr double kSmallest = -708.0;  // exp of less is no normal number
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kRound = 0x1.8p52;
  constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // its last bits are 0: n times it is exact
  constexpr double kLn2Low = 0x1.ef35793c76730p-45;
  const double wanted = (static_cast<double>(logit) - static_cast<double>(max)) * scale;
  const bool in_range = wanted >= kSmallest;  // not for NaN
  const double x = in_range ? wanted : kSmallest;
  const double shifted = x * kLog2E + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double p = 1.0 / 6227020800.0;  // 1/13!, and so on down
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const auto exponent = __builtin_bit_cast(uint64_t, shifted) << 52;
  const double scaled = __builtin_bit_cast(double, __builtin_bit_cast(uint64_t, p) + exponent);
  const double weight = in_range ? scaled : 0.0;
  return logit == max ? 1.0 : weight;
}

void Weigh(const float* logits, size_t count, float max, double scale, double* weights) {
  for (size_t i = 0; i < count; ++i) weights[i] = WeightOf(logits[i], max, scale);
}

double Sum(const float* logits, size_t count, float max, double scale, double least) {
  double weights[kWeightChunk];
  Weigh(logits, count, max, scale, weights);
  double lanes[kSumLanes] = {};
  size_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes) {
    for (size_t lane = 0; lane < kSumLanes; ++lane) {
      const double weight = weights[i + lane];
      lanes[lane] += weight >= least ? weight : 0.0;
    }
  }
  for (size_t lane = 0; i < count; ++i, ++lane)
    lanes[lane] += weights[i] >= least ? weights[i] : 0.0;
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

}  // namespace
}  // namespace millrace
