// Standard attention: scores and probabilities as matrices in memory. Part of attention_body.h.
#pragma once

#include "flash_attention/kernels.h"
#include "flash_attention/scores_body.h"
#include "flash_attention/values_body.h"

namespace millrace {
namespace {

void Scores(const AttentionTile& tile, float* out, int64_t stride) {
  const F32x16 masked = Set1(-__builtin_inff());
  for (int64_t first = 0; first < tile.rows; first += kRowGroup) {
    const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
    for (int64_t block = 0; block < tile.blocks; ++block) {
      float* to = out + first * stride + block * kKeys;
      BlockScores(tile, first, static_cast<int>(rows), block, nullptr, to, stride);
      for (int64_t r = 0; r < rows; ++r, to += stride) {
        const KeyRange range = RangeIn(tile, first + r, block, kKeys);
        if (range.begin == 0 && range.end == kKeys) continue;
        Store(to, Select(LaneRange(range.begin, range.end), Load(to), masked));
        Store(to + 16, Select(LaneRange(range.begin - 16, range.end - 16), Load(to + 16), masked));
      }
    }
  }
}

// count is a multiple of 32, so the 16 lanes of `sum` get the same keys whatever the count: masked
// ones add zero.
void Probabilities(const float* scores, int64_t count, float* out) {
  F32x16 top = Set1(-__builtin_inff());
  for (int64_t i = 0; i < count; i += 16) top = Max(Load(scores + i), top);
  const float max = ReduceMax(top);
  const F32x16 maximum = Set1(max == -__builtin_inff() ? 0.0f : max);
  F32x16 sum = Set1(0.0f);
  for (int64_t i = 0; i < count; i += 16) {
    const F32x16 e = Exp2(Sub(Load(scores + i), maximum));
    sum = Add(sum, e);
    Store(out + i, e);
  }
  const float total = ReduceAdd(sum);
  const F32x16 factor = Set1(total == 0.0f ? 0.0f : 1.0f / total);
  for (int64_t i = 0; i < count; i += 16) Store(out + i, Mul(Load(out + i), factor));
}

void WeightedValues(const AttentionTile& tile, const float* probabilities, int64_t stride,
                    float* scratch, float* output) {
  const int64_t dim = tile.head_dim;
  __builtin_memset(output, 0, static_cast<size_t>(tile.rows * dim) * sizeof(float));
  for (int64_t first = 0; first < tile.rows; first += kRowGroup) {
    const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
    for (int64_t block = 0; block < tile.blocks; ++block) {
      KeyRange ranges[kRowGroup];
      for (int64_t r = 0; r < rows; ++r) ranges[r] = RangeIn(tile, first + r, block, kKeys);
      BlockValues(tile, block, probabilities + first * stride + block * kKeys, stride, ranges, rows,
                  scratch, output + first * dim);
    }
  }
}

}  // namespace
}  // namespace millrace
