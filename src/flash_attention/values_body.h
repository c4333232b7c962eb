// Weighted values, one key after the other in f32: flash attention over f32, and standard attention
// over any type. Part of attention_body.h.
#pragma once

#include "flash_attention/kernels.h"
#include "flash_attention/scores_body.h"

namespace millrace {
namespace {

// The keys begin <= j < end of a block or chunk that a row sees.
struct KeyRange {
  int begin;
  int end;
  bool empty() const { return begin >= end; }
};

inline int Clamp(int64_t j, int64_t limit) {
  return static_cast<int>(j < 0 ? 0 : (j > limit ? limit : j));
}

// Of `keys` keys from the block's first.
inline KeyRange RangeIn(const AttentionTile& tile, int64_t row, int64_t block, int64_t keys) {
  return {Clamp(tile.begin[row] - block * kKeys, keys), Clamp(tile.end[row] - block * kKeys, keys)};
}

// V as f32 [32][D]: dimensions d .. d + 15 of one key.
struct F32Values {
  const float* data;
  int64_t dim;
  F32x16 Vector(int64_t key, int64_t d) const { return Load(data + key * dim + d); }
  float Scalar(int64_t key, int64_t d) const { return data[key * dim + d]; }
};

// V as bf16 [16][D][2].
struct Bf16Values {
  const uint16_t* data;
  int64_t dim;
  F32x16 Vector(int64_t key, int64_t d) const {
    const uint16_t* p = data + (key / 2 * dim + d) * 2;
    return key % 2 != 0 ? LoadPairsSecond(p) : LoadPairsFirst(p);
  }
  float Scalar(int64_t key, int64_t d) const {
    const uint32_t bits = static_cast<uint32_t>(data[(key / 2 * dim + d) * 2 + key % 2]) << 16;
    return __builtin_bit_cast(float, bits);
  }
};

// output[r][d ..] += the sum over the keys of the range of weight[r][key] * V[key][d ..]; rows of
// weights lie `stride` apart, rows of outputs D.
template <int kRows, int kVectors, class Values>
inline void ValueRegisterTile(const float* weights, int64_t stride, Values values, KeyRange range,
                              int64_t d, float* output) {
  const int64_t dim = values.dim;
  F32x16 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Load(output + r * dim + d + v * 16);
  }
  const auto step = [&](int key) __attribute__((always_inline)) {
    F32x16 value[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) value[v] = values.Vector(key, d + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F32x16 weight = Set1(weights[r * stride + key]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Fma(weight, value[v], sum[r][v]);
    }
  };
  int key = range.begin;
  if (key % 2 != 0 && key < range.end) step(key++);
  for (; key + 2 <= range.end; key += 2) {  // `key` is even: the pair shares its loads of bf16
    step(key);
    step(key + 1);
  }
  if (key < range.end) step(key);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) Store(output + r * dim + d + v * 16, sum[r][v]);
  }
}

template <int kRows, class Values>
void AddValueRows(const float* weights, int64_t stride, Values values, KeyRange range,
                  float* output) {
  constexpr int kVectors = Tuning::kValueVectors;
  int64_t d = 0;
  for (; d + kVectors * 16 <= values.dim; d += kVectors * 16) {
    ValueRegisterTile<kRows, kVectors>(weights, stride, values, range, d, output);
  }
  if constexpr (kVectors > 2) {
    for (; d + 32 <= values.dim; d += 32) {
      ValueRegisterTile<kRows, 2>(weights, stride, values, range, d, output);
    }
  }
  for (; d + 16 <= values.dim; d += 16) {
    ValueRegisterTile<kRows, 1>(weights, stride, values, range, d, output);
  }
  for (; d < values.dim; ++d) {
    for (int r = 0; r < kRows; ++r) {
      float sum = output[r * values.dim + d];
      for (int key = range.begin; key < range.end; ++key) {
        sum = __builtin_fmaf(weights[r * stride + key], values.Scalar(key, d), sum);
      }
      output[r * values.dim + d] = sum;
    }
  }
}

template <class Values>
void AddValues(const float* weights, int64_t stride, Values values, const KeyRange* ranges,
               int64_t rows, float* output) {
  constexpr int kRows = Tuning::kValueRows;
  int64_t r = 0;
  while (r < rows) {
    // Rows go together only if they see the same keys: a key that is masked must not be touched at
    // all, since its value may be infinite or NaN.
    int64_t same = 1;
    while (same < kRows && r + same < rows && ranges[r + same].begin == ranges[r].begin &&
           ranges[r + same].end == ranges[r].end) {
      ++same;
    }
    const float* w = weights + r * stride;
    float* out = output + r * values.dim;
    if (ranges[r].empty()) {
      r += same;
    } else if (same == kRows) {
      AddValueRows<kRows>(w, stride, values, ranges[r], out);
      r += kRows;
    } else if (kRows > 2 && same >= 2) {
      AddValueRows<2>(w, stride, values, ranges[r], out);
      r += 2;
    } else {
      AddValueRows<1>(w, stride, values, ranges[r], out);
      r += 1;
    }
  }
}

// q8_0: the block is turned into f32 first; [32][D] of `scratch`.
F32Values ExpandedBytes(const std::byte* block, int64_t dim, int64_t padded, float* scratch) {
  const auto* codes = reinterpret_cast<const int8_t*>(block);
  const auto* scales = reinterpret_cast<const float*>(block + kKeys * padded);
  for (int64_t key = 0; key < kKeys; ++key) {
    const int8_t* from = codes + key / 4 * padded * 4 + key % 4;
    for (int64_t d = 0; d < dim; ++d) {
      scratch[key * dim + d] = static_cast<float>(from[4 * d]) * scales[key];
    }
  }
  return {scratch, dim};
}

// Adds a block's values to up to 8 rows. `scratch`, [32][D], is used by q8_0 only.
void BlockValues(const AttentionTile& tile, int64_t block, const float* weights, int64_t stride,
                 const KeyRange* ranges, int64_t rows, float* scratch, float* output) {
  const std::byte* memory = tile.values[block];
  const int64_t dim = tile.head_dim;
  switch (tile.type) {
    case KvType::kF32:
      AddValues(weights, stride, F32Values{reinterpret_cast<const float*>(memory), dim}, ranges,
                rows, output);
      break;
    case KvType::kBf16:
      AddValues(weights, stride, Bf16Values{reinterpret_cast<const uint16_t*>(memory), dim}, ranges,
                rows, output);
      break;
    case KvType::kQ8_0:
      AddValues(weights, stride, ExpandedBytes(memory, dim, tile.padded_dim, scratch), ranges, rows,
                output);
      break;
  }
}

}  // namespace
}  // namespace millrace
