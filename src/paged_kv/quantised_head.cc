#include "paged_kv/quantised_head.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace millrace {
namespace {

// x[i], x[i + half] <- their sum and difference, for pairs within blocks of 2 * half.
void Butterflies(float* x, int32_t dim, int32_t half) {
  for (int32_t first = 0; first < dim; first += 2 * half) {
    float* low = x + first;
    float* high = low + half;
    for (int32_t i = 0; i < half; ++i) {
      const float sum = low[i] + high[i], difference = low[i] - high[i];
      low[i] = sum;
      high[i] = difference;
    }
  }
}

// The first two steps at once, on four neighbours.
void FirstButterflies(float* x, int32_t dim) {
  for (int32_t i = 0; i < dim; i += 4) {
    const float a = x[i] + x[i + 1], b = x[i] - x[i + 1];
    const float c = x[i + 2] + x[i + 3], d = x[i + 2] - x[i + 3];
    x[i] = a + c;
    x[i + 1] = b + d;
    x[i + 2] = a - c;
    x[i + 3] = b - d;
  }
}

// The largest magnitude; infinity or NaN where an element is that.
float LargestMagnitude(const float* x, int32_t dim) {
  uint32_t largest = 0;  // magnitudes order as their bits do
  for (int32_t d = 0; d < dim; ++d) {
    largest = std::max(largest, std::bit_cast<uint32_t>(x[d]) & 0x7fffffffu);
  }
  return std::bit_cast<float>(largest);
}

}  // namespace

void RotateHead(float* x, int32_t dim) {
  const int32_t block = dim & -dim;
  int32_t half = 1;
  if (block >= 4) {
    FirstButterflies(x, dim);
    half = 4;
  }
  for (; half < block; half *= 2) Butterflies(x, dim, half);
  const float scale = 1.0f / std::sqrt(static_cast<float>(block));
  for (int32_t i = 0; i < dim; ++i) x[i] *= scale;
}

float QuantiseHead(const float* x, int32_t dim, int8_t* codes) {
  thread_local std::vector<float> copy;
  copy.assign(x, x + dim);
  float* rotated = copy.data();
  RotateHead(rotated, dim);
  const float largest = LargestMagnitude(rotated, dim);
  std::fill_n(codes, PaddedToSixteen(dim), int8_t{0});
  if (!std::isfinite(largest)) return std::numeric_limits<float>::quiet_NaN();
  if (largest < std::numeric_limits<float>::min() * 128) return 0.0f;
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const float inverse = 127.0f / largest;
  for (int32_t d = 0; d < dim; ++d) {
    codes[d] = static_cast<int8_t>(std::bit_cast<uint32_t>(rotated[d] * inverse + kShift) -
                                   std::bit_cast<uint32_t>(kShift));
  }
  return largest / 127.0f;
}

}  // namespace millrace
