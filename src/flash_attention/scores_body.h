// Scores: queries against the keys of one block, as register tiles of rows by vectors of 16 keys.
// Part of attention_body.h.
#pragma once

#include "flash_attention/kernels.h"

namespace millrace {
namespace {

constexpr int64_t kKeys = kBlockTokens;

// Each of the three knows its memory and has
//   kSteps-wise access: Key (16 keys of one step of the dimension), Query (one row, broadcast),
//   Sum, and Start, Add and Result of a sum. `row` counts within the group of 8, `vector` is 0
//   or 1.

// K [D][32] f32, queries [D][8] f32.
struct F32Scores {
  using Key = F32x16;
  using Query = F32x16;
  using Sum = F32x16;
  static constexpr int64_t kDims = 1;  // of a step
  const float* keys;
  const float* queries;

  Key KeyAt(int64_t step, int vector) const { return Load(keys + step * kKeys + vector * 16); }
  Query QueryAt(int64_t step, int row) const { return Set1(queries[step * kRowGroup + row]); }
  Sum Start(int) const { return Set1(0.0f); }
  static Sum Add(Sum sum, Key key, Query query) { return Fma(query, key, sum); }
  F32x16 Result(Sum sum, int, int) const { return sum; }
};

// K [D/2][32][2] bf16, queries [D/2][8][2] bf16.
struct Bf16Scores {
  using Key = Bf16Pairs;
  using Query = Bf16Pairs;
  using Sum = F32x16;
  static constexpr int64_t kDims = 2;
  const uint16_t* keys;
  const uint16_t* queries;

  Key KeyAt(int64_t step, int vector) const {
    return LoadPairs(keys + (step * kKeys + vector * 16) * 2);
  }
  Query QueryAt(int64_t step, int row) const {
    return BroadcastPair(queries + (step * kRowGroup + row) * 2);
  }
  Sum Start(int) const { return Set1(0.0f); }
  static Sum Add(Sum sum, Key key, Query query) { return DotPairs(sum, key, query); }
  F32x16 Result(Sum sum, int, int) const { return sum; }
};

// K [E/4][32][4] bytes with 32 scales, queries [E/4][8][4] codes with a scale and a sum per row.
struct ByteScores {
  using Key = ByteKeys;
  using Query = const int8_t*;
  using Sum = I32x16;
  static constexpr int64_t kDims = 4;
  const uint8_t* keys;
  const float* key_scales;
  const int8_t* queries;
  const float* query_scales;
  const int32_t* query_sums;

  Key KeyAt(int64_t step, int vector) const {
    return LoadKeys(keys + (step * kKeys + vector * 16) * 4);
  }
  Query QueryAt(int64_t step, int row) const { return queries + (step * kRowGroup + row) * 4; }
  Sum Start(int row) const { return StartKeys(query_sums[row]); }
  static Sum Add(Sum sum, Key key, Query query) { return DotKeys(sum, key, query); }
  F32x16 Result(Sum sum, int row, int vector) const {
    const F32x16 scale = Mul(Load(key_scales + vector * 16), Set1(query_scales[row]));
    return Mul(ToFloat(sum), scale);
  }
};

// scores[row][16 v + lane] for kRows rows from `row` and kVectors vectors from `vector`; rows of
// scores lie `stride` apart. `next`, unless null, is what will be read next, of the same layout.
template <int kRows, int kVectors, class Scores>
inline void ScoreRegisterTile(Scores s, int64_t steps, int row, int vector, const char* next,
                              float* scores, int64_t stride) {
  typename Scores::Sum sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = s.Start(row + r);
  }
  constexpr int64_t kStepBytes = 2 * 64;  // of both vectors; half as much again of f32 is no loss
  for (int64_t step = 0; step < steps; ++step) {
    if (next != nullptr) {
      __builtin_prefetch(next + step * kStepBytes);
      __builtin_prefetch(next + step * kStepBytes + 64);
    }
    typename Scores::Key key[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) key[v] = s.KeyAt(step, vector + v);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename Scores::Query query = s.QueryAt(step, row + r);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Scores::Add(sum[r][v], key[v], query);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      Store(scores + (row + r) * stride + (vector + v) * 16,
            s.Result(sum[r][v], row + r, vector + v));
    }
  }
}

template <int kRows, class Scores>
void ScoreRows(Scores s, int64_t steps, int row, const char* next, float* scores, int64_t stride) {
  for (int v = 0; v < kKeys / 16; v += Tuning::kScoreVectors) {
    ScoreRegisterTile<kRows, Tuning::kScoreVectors>(s, steps, row, v, v == 0 ? next : nullptr,
                                                    scores, stride);
  }
}

template <class Scores>
void ScoreGroup(Scores s, int64_t steps, int rows, const char* next, float* scores,
                int64_t stride) {
  constexpr int kRows = Tuning::kScoreRows;
  int row = 0;
  for (; row + kRows <= rows; row += kRows, next = nullptr) {
    ScoreRows<kRows>(s, steps, row, next, scores, stride);
  }
  if constexpr (kRows > 4) {
    if (row + 4 <= rows) {
      ScoreRows<4>(s, steps, row, next, scores, stride);
      row += 4;
      next = nullptr;
    }
  }
  if (rows - row == 3) ScoreRows<3>(s, steps, row, next, scores, stride);
  if (rows - row == 2) ScoreRows<2>(s, steps, row, next, scores, stride);
  if (rows - row == 1) ScoreRows<1>(s, steps, row, next, scores, stride);
}

// c * tanh(s / c) in units of log2; the scores arrive divided by c.
void ApplySoftcap(float cap, int64_t rows, float* scores, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * stride;
    for (int64_t i = 0; i < kKeys; i += 16) Store(row + i, Mul(Set1(cap), Tanh(Load(row + i))));
  }
}

// The scales behind the codes of a block of q8_0, of keys or of values.
inline void PrefetchScales(const AttentionTile& tile, const char* block) {
  if (block == nullptr) return;
  __builtin_prefetch(block + kKeys * tile.padded_dim);
  __builtin_prefetch(block + kKeys * tile.padded_dim + 64);
}

// Scores of up to 8 rows of the tile from first_row, a multiple of 8, against one block: rows of
// 32, `stride` apart; capped, not masked.
void BlockScores(const AttentionTile& tile, int64_t first_row, int rows, int64_t block,
                 const char* next, float* scores, int64_t stride) {
  const std::byte* memory = tile.keys[block];
  const int64_t dim = tile.head_dim, padded = tile.padded_dim;
  switch (tile.type) {
    case KvType::kF32:
      ScoreGroup(F32Scores{reinterpret_cast<const float*>(memory), tile.q + first_row * dim}, dim,
                 rows, next, scores, stride);
      break;
    case KvType::kBf16:
      ScoreGroup(
          Bf16Scores{reinterpret_cast<const uint16_t*>(memory), tile.q_pairs + first_row * dim},
          dim / 2, rows, next, scores, stride);
      break;
    case KvType::kQ8_0:
      PrefetchScales(tile, next);
      ScoreGroup(ByteScores{reinterpret_cast<const uint8_t*>(memory),
                            reinterpret_cast<const float*>(memory + kKeys * padded),
                            tile.q_codes + first_row * padded, tile.q_scales + first_row,
                            tile.q_sums + first_row},
                 padded / 4, rows, next, scores, stride);
      break;
  }
  if (tile.cap != 0.0f) ApplySoftcap(tile.cap, rows, scores, stride);
}

}  // namespace
}  // namespace millrace
