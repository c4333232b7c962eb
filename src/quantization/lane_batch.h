// LaneBatch: sixteen sub-blocks side by side, as the searches of fit_kernels.h take them: a row's
// values, scaled so that each block's largest is near 1, and their weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "quantization/fit_kernels.h"

namespace millrace::quantize_internal {

constexpr int kRounds = 2;  // of choosing the integers and fitting the halves anew

// How a format divides its blocks: sub-blocks of `length` elements, `lanes` of them in a block.
struct BlockShape {
  int length = 32;
  int lanes = 1;
  int elements() const { return length * lanes; }
  int blocks_per_batch() const { return kLanes / lanes; }
};

struct LaneBatch {
  alignas(64) float x[kLanes * kMostLaneElements];
  alignas(64) float w[kLanes * kMostLaneElements];
  alignas(64) float unit[kLanes];  // a power of two per lane: the true value of x is x * unit
  int length = 0;
  int blocks = 0;  // of the batch; lanes beyond them hold zeros
};

// The rows that are being quantised.
struct Source {
  const FitKernels& kernels;
  std::span<const float> values;
  std::span<const float> importance;  // empty, or of a row
};

// Fills the batch with the blocks from `first_block` on, as many as fit and are there.
void FillBatch(const Source& source, const BlockShape& shape, size_t first_block, LaneBatch& batch);

// `d` in true units as its half-precision value; within the format's range.
float NearestHalf(float d);
// `d` rounded to the half that the file will hold, in a batch's units.
inline float RoundInUnits(float d, float unit) { return NearestHalf(d * unit) / unit; }
// Of lanes first..first+lanes.
inline float Total(const float* values, int first, int lanes) {
  float sum = 0.0f;
  for (int i = 0; i < lanes; ++i) sum += values[first + i];
  return sum;
}
void StoreHalf(uint8_t* p, float value);

// Writes all blocks of `source` in the type's format to `out`.
void QuantizeAffine(DType type, const Source& source, uint8_t* out);     // Q4_1 Q5_1 Q2_K Q4_K Q5_K
void QuantizeSymmetric(DType type, const Source& source, uint8_t* out);  // the other integer types

}  // namespace millrace::quantize_internal
