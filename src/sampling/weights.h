// The weights that a token is drawn by: exp((logit - max) * scale), over a row of logits.
//
// Invariant: the exponential is defined here, operation by operation (range reduction by Cody and
// Waite, a polynomial of degree 13, relative error below 1e-15), and the order of summation, too.
// So every instruction set gives the same bits, and the token does not depend on the machine.
#pragma once

#include <cstddef>

#include "simd/isa.h"

namespace millrace {

inline constexpr size_t kWeightChunk = 1024;  // neighbours whose weights are added up together

struct WeightKernels {
  // weights[i] for count <= kWeightChunk logits, none of which is above `max`: 1 for `max` itself,
  // 0 for NaN, for -infinity and below 1e-307.
  void (*weigh)(const float* logits, size_t count, float max, double scale, double* weights);
  // The sum of the weights that are `least` at least: weight i goes to lane i % 8, then the lanes
  // are added in pairs.
  double (*sum)(const float* logits, size_t count, float max, double scale, double least);
};

const WeightKernels& WeightKernelsFor(Isa isa);

}  // namespace millrace
