// The softmax of one chunk: what a group of rows sees of it, and scores into weights of each form.
// Part of attention_body.h.
#pragma once

#include "flash_attention/kernels.h"
#include "flash_attention/scores_body.h"
#include "flash_attention/values_body.h"

namespace millrace {
namespace {

constexpr int kChunkKeys = kAttentionChunk;

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

}  // namespace
}  // namespace millrace
