// Flash attention of one chunk of 256 keys: scores, one softmax, weighted values; and the merging
// of chunks. Part of attention_body.h.
//
// All of a chunk's scores of 8 rows are made before their maximum is taken (8 KiB, in the
// first-level cache), so that nothing is rescaled within a chunk and horizontal sums are rare.
#pragma once

#include "flash_attention/kernels.h"
#include "flash_attention/scores_body.h"
#include "flash_attention/values_body.h"

namespace millrace {
namespace {

constexpr int kChunkKeys = kAttentionChunk;

// ---- softmax ----

// What a group of up to 8 rows sees of a chunk. The rows that see something are neighbours, since
// both ends of what a row sees rise with the row.
struct Group {
  int64_t first = 0;               // row of the tile
  int begin_row = 0, end_row = 0;  // within the group: those that see something
  KeyRange ranges[kRowGroup];
  KeyRange all = {kChunkKeys, 0};  // what any of them sees
};

Group GroupOf(const AttentionTile& tile, int64_t first) {
  Group group;
  group.first = first;
  const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
  for (int r = 0; r < rows; ++r) {
    const KeyRange range = RangeIn(tile, first + r, 0, tile.blocks * kKeys);
    group.ranges[r] = range;
    if (range.empty()) continue;
    if (group.end_row == 0) group.begin_row = r;
    group.end_row = r + 1;
    if (range.begin < group.all.begin) group.all.begin = range.begin;
    if (range.end > group.all.end) group.all.end = range.end;
  }
  return group;
}

// One row's scores of a chunk, of which [16 first, 16 end) are there; others than those of the
// range read as -infinity.
struct ScoreRow {
  float* data;
  KeyRange range;
  int first, end;  // vectors
  bool whole;      // nothing to mask

  ScoreRow(float* scores, KeyRange visible, KeyRange all)
      : data(scores),
        range(visible),
        first(all.begin / 16),
        end((all.end + 15) / 16),
        whole(visible.begin <= 16 * first && visible.end >= 16 * end) {}

  Mask16 Visible(int i) const { return LaneRange(range.begin - 16 * i, range.end - 16 * i); }
  F32x16 At(int i) const {
    const F32x16 x = Load(data + 16 * i);
    return whole ? x : Select(Visible(i), x, Set1(-__builtin_inff()));
  }
  float Max() const {
    F32x16 top = Set1(-__builtin_inff());
    for (int i = first; i < end; ++i) top = millrace::Max(At(i), top);
    return ReduceMax(top);
  }
};

// Each replaces scores by weights 2^(score - maximum) of its own form.

void WeightsF32(const ScoreRow& row, float* max, float* sum) {
  *max = row.Max();
  const F32x16 maximum = Set1(*max);
  F32x16 total = Set1(0.0f);
  for (int i = row.first; i < row.end; ++i) {
    const F32x16 weight = Exp2(Sub(row.At(i), maximum));
    total = Add(total, weight);
    Store(row.data + 16 * i, weight);
  }
  *sum = ReduceAdd(total);
}

// weights [256] bf16; the sum is of the rounded weights, so that what remains is the rounding of
// each relative to the others.
void WeightsBf16(const ScoreRow& row, uint16_t* weights, float* max, float* sum) {
  *max = row.Max();
  const F32x16 maximum = Set1(*max);
  F32x16 total = Set1(0.0f);
  for (int i = row.first; i < row.end; ++i) {
    const F32x16 exponent = Sub(row.At(i), maximum);
    const F32x16 weight = Select(Less(exponent, Set1(-50.0f)), Set1(0.0f), Exp2(exponent));
    total = Add(total, StoreBf16(weights + 16 * i, weight));
  }
  *sum = ReduceAdd(total);
}

// Weights times the scales of the values, as integers of which one is worth the result.
float WeightsBytes(const AttentionTile& tile, const ScoreRow& row, WeightCodes& codes, float* max,
                   float* sum) {
  *max = row.Max();
  const F32x16 maximum = Set1(*max);
  F32x16 total = Set1(0.0f), scaled_total = Set1(0.0f), largest = Set1(0.0f);
  for (int i = row.first; i < row.end; ++i) {
    const F32x16 weight = Exp2(Sub(row.At(i), maximum));
    total = Add(total, weight);
    const auto* scales =
        reinterpret_cast<const float*>(tile.values[i / 2] + kKeys * tile.padded_dim);
    F32x16 scaled = Mul(weight, Load(scales + 16 * (i % 2)));
    if (!row.whole) scaled = Select(row.Visible(i), scaled, Set1(0.0f));  // a scale may be NaN
    scaled_total = Add(scaled_total, scaled);
    largest = Max(scaled, largest);
    Store(row.data + 16 * i, scaled);
  }
  *sum = ReduceAdd(total);
  const float top = ReduceMax(largest);
  const F32x16 inverse = Set1(top < 0x1p-100f ? 0.0f : 32767.0f / top);
  for (int i = row.first; i < row.end; ++i) {
    StoreCodes(codes, 16 * i, Round(Mul(Load(row.data + 16 * i), inverse)));
  }
  return top / 32767.0f + 0.0f * ReduceAdd(scaled_total);  // NaN if a visible scale is NaN
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
    const std::byte* next = block + 1 < tile.blocks ? tile.values[block + 1] : tile.next_keys;
    const char* ahead = prefetch ? reinterpret_cast<const char*>(next) + 4 * d : nullptr;
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
  bool prefetch = tile.next_keys != nullptr;
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
    const std::byte* next = block + 1 < tile.blocks ? tile.values[block + 1] : tile.next_keys;
    const char* ahead = prefetch ? reinterpret_cast<const char*>(next) + 4 * d : nullptr;
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
  bool prefetch = tile.next_keys != nullptr;
  int row = group.begin_row;
  for (; row + kRows <= group.end_row; row += kRows, prefetch = false) {
    ByteValueRows<kRows>(tile, codes, scales, row, begin, end, prefetch, output);
  }
  for (; row < group.end_row; ++row, prefetch = false) {
    ByteValueRows<1>(tile, codes, scales, row, begin, end, prefetch, output);
  }
}

// ---- a chunk ----

struct GroupScratch {
  alignas(64) float scores[kRowGroup * kChunkKeys];
  alignas(64) uint16_t weights[kRowGroup * kChunkKeys];
  WeightCodes codes[kRowGroup];
  float code_scales[kRowGroup];
};

void GroupScores(const AttentionTile& tile, const Group& group, float* scores) {
  const int64_t end = (group.all.end + kKeys - 1) / kKeys;
  for (int64_t block = group.all.begin / kKeys; block < end; ++block) {
    const std::byte* next = block + 1 < end ? tile.keys[block + 1] : tile.values[0];
    if (tile.next_keys == nullptr) next = nullptr;
    BlockScores(tile, group.first, group.end_row, block, reinterpret_cast<const char*>(next),
                scores + block * kKeys, kChunkKeys);
  }
}

void GroupChunk(const AttentionTile& tile, const Group& group, GroupScratch& scratch,
                const AttentionState& state) {
  float* output = state.output + group.first * tile.head_dim;
  GroupScores(tile, group, scratch.scores);
  for (int r = group.begin_row; r < group.end_row; ++r) {
    const ScoreRow row(scratch.scores + r * kChunkKeys, group.ranges[r], group.all);
    float* max = state.max + group.first + r;
    float* sum = state.sum + group.first + r;
    switch (tile.type) {
      case KvType::kF32:
        WeightsF32(row, max, sum);
        break;
      case KvType::kBf16:
        WeightsBf16(row, scratch.weights + r * kChunkKeys, max, sum);
        break;
      case KvType::kQ8_0:
        scratch.code_scales[r] = WeightsBytes(tile, row, scratch.codes[r], max, sum);
        break;
    }
  }
  if (tile.type == KvType::kQ8_0) {
    AddValuesBytes(tile, group, scratch.codes, scratch.code_scales, output);
    return;
  }
  __builtin_memset(output, 0, static_cast<size_t>(group.end_row * tile.head_dim) * sizeof(float));
  if (tile.type == KvType::kBf16) {
    AddValuesBf16(tile, group, {scratch.weights}, output);
    return;
  }
  for (int64_t block = 0; block < tile.blocks; ++block) {
    KeyRange ranges[kRowGroup];
    for (int r = 0; r < group.end_row; ++r) {
      ranges[r] = RangeIn(tile, group.first + r, block, kKeys);
    }
    BlockValues(tile, block, scratch.scores + block * kKeys, kChunkKeys, ranges, group.end_row,
                nullptr, output);
  }
}

void Chunk(const AttentionTile& tile, const AttentionState& state) {
  GroupScratch scratch;
  for (int64_t first = 0; first < tile.rows; first += kRowGroup) {
    const Group group = GroupOf(tile, first);
    const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
    for (int64_t r = 0; r < rows; ++r) state.sum[first + r] = 0.0f;
    if (group.end_row > 0) GroupChunk(tile, group, scratch, state);
  }
}

// ---- merging ----

inline float Exp2Of(float x) { return FirstLane(Exp2(Set1(x))); }

inline void MergeRow(float total_factor, float part_factor, const float* part, float* total,
                     int64_t dim) {
  const F32x16 a = Set1(total_factor), b = Set1(part_factor);
  int64_t i = 0;
  for (; i + 16 <= dim; i += 16) Store(total + i, Fma(Load(total + i), a, Mul(Load(part + i), b)));
  if (i < dim) {
    const int64_t n = dim - i;
    StoreFirst(total + i, Fma(LoadFirst(total + i, n), a, Mul(LoadFirst(part + i, n), b)), n);
  }
}

void Merge(const AttentionState& total, const AttentionState& part, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r) {
    if (part.sum[r] == 0.0f) continue;
    float* output = total.output + r * dim;
    if (total.sum[r] == 0.0f) {
      total.max[r] = part.max[r];
      total.sum[r] = part.sum[r];
      __builtin_memcpy(output, part.output + r * dim, static_cast<size_t>(dim) * sizeof(float));
      continue;
    }
    const float max = total.max[r] > part.max[r] ? total.max[r] : part.max[r];
    const float total_factor = Exp2Of(total.max[r] - max);
    const float part_factor = Exp2Of(part.max[r] - max);
    total.max[r] = max;
    total.sum[r] = __builtin_fmaf(total.sum[r], total_factor, part.sum[r] * part_factor);
    MergeRow(total_factor, part_factor, part.output + r * dim, output, dim);
  }
}

void Finish(const float* output, float sum, int64_t dim, float* out) {
  const F32x16 factor = Set1(sum == 0.0f ? 0.0f : 1.0f / sum);
  const F32x16 zero = Set1(0.0f);
  for (int64_t i = 0; i < dim; i += 16) {
    const int64_t n = dim - i < 16 ? dim - i : 16;
    const F32x16 y = sum == 0.0f ? zero : Mul(LoadFirst(output + i, n), factor);
    StoreFirst(out + i, y, n);
  }
}

}  // namespace
}  // namespace millrace
