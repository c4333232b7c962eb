// Weighted values of a chunk for flash attention: bf16 two keys at a time, q8_0 four at a time in
// integers. Part of attention_body.h.
#pragma once

#include "flash_attention/kernels.h"
#include "flash_attention/softmax_body.h"

namespace millrace {
namespace {

inline const char* AheadOfValues(const AttentionTile& tile, int64_t block) {
  return reinterpret_cast<const char*>(tile.ahead[tile.blocks + block]);
}

// ---- values in bf16, two keys at a time ----

struct Weights16 {
  const uint16_t* data;  // [8][256]
  const uint16_t* Pair(int row, int pair) const { return data + row * kChunkKeys + 2 * pair; }
};

// output[row ..] += over the whole pairs [begin, end) of the chunk, dimensions d .. of kRows rows.
template <int kRows, int kVectors>
inline void PairRegisterTile(const AttentionTile& tile, Weights16 weights, int row, int begin,
                             int end, int64_t d, bool prefetch, float* output) {
  const int64_t dim = tile.head_dim;
  F32x16 sum[kRows][kVectors];
  float* out = output + row * dim + d;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Load(out + r * dim + v * 16);
  }
  for (int pair = begin; pair < end;) {
    const int block = pair / 16;
    const int stop = end < block * 16 + 16 ? end : block * 16 + 16;
    const auto* base = reinterpret_cast<const uint16_t*>(tile.values[block]) + 2 * d;
    const char* ahead = prefetch ? AheadOfValues(tile, block) + 4 * d : nullptr;
    for (; pair < stop; ++pair) {
      const int64_t offset = pair % 16 * dim * 2;
      if (ahead != nullptr) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) __builtin_prefetch(ahead + 2 * offset + 64 * v);
      }
      Bf16Pairs value[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) value[v] = LoadPairs(base + offset + v * 32);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Bf16Pairs weight = BroadcastPair(weights.Pair(row + r, pair));
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sum[r][v] = DotPairs(sum[r][v], value[v], weight);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) Store(out + r * dim + v * 16, sum[r][v]);
  }
}

template <int kRows>
void AddPairsOfRows(const AttentionTile& tile, Weights16 weights, int row, int begin, int end,
                    bool prefetch, float* output) {
  constexpr int kVectors = Tuning::kValueVectors;
  int64_t d = 0;
  for (; d + kVectors * 16 <= tile.head_dim; d += kVectors * 16) {
    PairRegisterTile<kRows, kVectors>(tile, weights, row, begin, end, d, prefetch, output);
  }
  if constexpr (kVectors > 2) {
    for (; d + 32 <= tile.head_dim; d += 32) {
      PairRegisterTile<kRows, 2>(tile, weights, row, begin, end, d, prefetch, output);
    }
  }
  for (; d + 16 <= tile.head_dim; d += 16) {
    PairRegisterTile<kRows, 1>(tile, weights, row, begin, end, d, prefetch, output);
  }
}

// Rows [begin_row, end_row) of the group.
void AddPairs(const AttentionTile& tile, Weights16 weights, int begin_row, int end_row, int begin,
              int end, float* output) {
  if (begin >= end) return;
  constexpr int kRows = Tuning::kValueRows;
  bool prefetch = tile.ahead != nullptr;
  int row = begin_row;
  for (; row + kRows <= end_row; row += kRows, prefetch = false) {
    AddPairsOfRows<kRows>(tile, weights, row, begin, end, prefetch, output);
  }
  if (kRows > 2 && row + 2 <= end_row) {
    AddPairsOfRows<2>(tile, weights, row, begin, end, prefetch, output);
    row += 2;
    prefetch = false;
  }
  for (; row < end_row; ++row, prefetch = false) {
    AddPairsOfRows<1>(tile, weights, row, begin, end, prefetch, output);
  }
}

// The pair of which the row sees one key only: the other's value may be infinite or NaN.
template <bool kFirst>
void AddHalfPair(const AttentionTile& tile, Weights16 weights, int row, int pair, float* output) {
  const auto* base =
      reinterpret_cast<const uint16_t*>(tile.values[pair / 16]) + pair % 16 * tile.head_dim * 2;
  const Bf16Pairs weight = BroadcastPair(weights.Pair(row, pair));
  float* out = output + row * tile.head_dim;
  for (int64_t d = 0; d + 16 <= tile.head_dim; d += 16) {
    const Bf16Pairs value = LoadPairs(base + 2 * d);
    Store(out + d, DotPairs(Load(out + d), kFirst ? OnlyFirst(value) : OnlySecond(value), weight));
  }
}

// The dimensions past the last multiple of 16.
void AddLastDimensions(const AttentionTile& tile, Weights16 weights, int row, KeyRange range,
                       float* output) {
  const int64_t dim = tile.head_dim;
  const auto f32 = [](uint16_t bits) {
    return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
  };
  for (int64_t d = dim / 16 * 16; d < dim; ++d) {
    float sum = 0.0f;
    for (int pair = range.begin / 2; 2 * pair < range.end; ++pair) {
      const auto* value =
          reinterpret_cast<const uint16_t*>(tile.values[pair / 16]) + (pair % 16 * dim + d) * 2;
      const uint16_t* weight = weights.Pair(row, pair);
      for (int second : {1, 0}) {
        const int key = 2 * pair + second;
        if (key < range.begin || key >= range.end) continue;
        sum = __builtin_fmaf(f32(weight[second]), f32(value[second]), sum);
      }
    }
    output[row * dim + d] = sum;
  }
}

// A row adds half a pair, whole pairs and half a pair, in order; what all rows see, they add
// together. `output` [8][D] starts at zero.
void AddValuesBf16(const AttentionTile& tile, const Group& group, Weights16 weights,
                   float* output) {
  int begin = 0, end = kChunkKeys / 2;  // the whole pairs that all rows see
  for (int r = group.begin_row; r < group.end_row; ++r) {
    const int first = (group.ranges[r].begin + 1) / 2, stop = group.ranges[r].end / 2;
    if (first > begin) begin = first;
    if (stop < end) end = stop;
  }
  if (begin > end) begin = end = kChunkKeys / 2;  // nothing in common: each row alone
  for (int r = group.begin_row; r < group.end_row; ++r) {
    const KeyRange range = group.ranges[r];
    if (range.begin % 2 != 0) AddHalfPair<false>(tile, weights, r, range.begin / 2, output);
    const int stop = range.end / 2 < begin ? range.end / 2 : begin;
    AddPairs(tile, weights, r, r + 1, (range.begin + 1) / 2, stop, output);
  }
  AddPairs(tile, weights, group.begin_row, group.end_row, begin, end, output);
  for (int r = group.begin_row; r < group.end_row; ++r) {
    const KeyRange range = group.ranges[r];
    AddPairs(tile, weights, r, r + 1, end, range.end / 2, output);
    if (range.end % 2 != 0) AddHalfPair<true>(tile, weights, r, range.end / 2, output);
    AddLastDimensions(tile, weights, r, range, output);
  }
}

// ---- values in bytes, four keys at a time ----

// output[row ..] = the weighted values, for kRows rows; masked keys have code 0.
template <int kRows, int kVectors>
inline void ByteRegisterTile(const AttentionTile& tile, const WeightCodes* codes,
                             const float* scales, int row, int begin, int end, int64_t d,
                             bool prefetch, float* output) {
  WeightedSum sum[kRows][kVectors];
  for (int quad = begin; quad < end;) {
    const int block = quad / 8;
    const int stop = end < block * 8 + 8 ? end : block * 8 + 8;
    const auto* base = reinterpret_cast<const int8_t*>(tile.values[block]) + 4 * d;
    const char* ahead = prefetch ? AheadOfValues(tile, block) + 4 * d : nullptr;
    if (d == 0 && prefetch) PrefetchScales(tile, ahead);
    for (; quad < stop; ++quad) {
      const int64_t offset = quad % 8 * tile.padded_dim * 4;
      ByteValues value[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        if (ahead != nullptr) __builtin_prefetch(ahead + offset + 64 * v);
        value[v] = LoadValues(base + offset + 64 * v);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) AddWeighted(sum[r][v], value[v], codes[row + r], quad);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* out = output + (row + r) * tile.head_dim + d;
    const F32x16 scale = Set1(scales[row + r]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const F32x16 y = Mul(ToFloat(sum[r][v]), scale);
      const int64_t left = tile.head_dim - d - 16 * v;
      if (left >= 16) {
        Store(out + 16 * v, y);
      } else {
        StoreFirst(out + 16 * v, y, left);
      }
    }
  }
}

template <int kRows>
void ByteValueRows(const AttentionTile& tile, const WeightCodes* codes, const float* scales,
                   int row, int begin, int end, bool prefetch, float* output) {
  constexpr int kVectors = Tuning::kByteVectors;
  int64_t d = 0;
  for (; d + kVectors * 16 <= tile.padded_dim; d += kVectors * 16) {
    ByteRegisterTile<kRows, kVectors>(tile, codes, scales, row, begin, end, d, prefetch, output);
  }
  if constexpr (kVectors > 1) {
    for (; d < tile.padded_dim; d += 16) {
      ByteRegisterTile<kRows, 1>(tile, codes, scales, row, begin, end, d, prefetch, output);
    }
  }
}

void AddValuesBytes(const AttentionTile& tile, const Group& group, const WeightCodes* codes,
                    const float* scales, float* output) {
  constexpr int kRows = Tuning::kValueRows;
  const int begin = group.all.begin / 4, end = (group.all.end + 3) / 4;
  bool prefetch = tile.ahead != nullptr;
  int row = group.begin_row;
  for (; row + kRows <= group.end_row; row += kRows, prefetch = false) {
    ByteValueRows<kRows>(tile, codes, scales, row, begin, end, prefetch, output);
  }
  for (; row < group.end_row; ++row, prefetch = false) {
    ByteValueRows<1>(tile, codes, scales, row, begin, end, prefetch, output);
  }
}

}  // namespace
}  // namespace millrace
