// Flash attention of one chunk of 256 keys: scores, one softmax, weighted values; and the merging
// of chunks. Part of attention_body.h.
//
// All of a chunk's scores of 8 rows are made before their maximum is taken (8 KiB, in the
// first-level cache), so that nothing is rescaled within a chunk and horizontal sums are rare.
#pragma once

#include "flash_attention/chunk_values_body.h"
#include "flash_attention/kernels.h"
#include "flash_attention/scores_body.h"
#include "flash_attention/softmax_body.h"
#include "flash_attention/values_body.h"

namespace millrace {
namespace {

struct GroupScratch {
  alignas(64) float scores[kRowGroup * kChunkKeys];
  alignas(64) uint16_t weights[kRowGroup * kChunkKeys];
  WeightCodes codes[kRowGroup];
  float code_scales[kRowGroup];
};

void GroupScores(const AttentionTile& tile, const Group& group, float* scores) {
  const int64_t end = (group.all.end + kKeys - 1) / kKeys;
  for (int64_t block = group.all.begin / kKeys; block < end; ++block) {
    const std::byte* ahead = tile.ahead != nullptr ? tile.ahead[block] : nullptr;
    BlockScores(tile, group.first, group.end_row, block, reinterpret_cast<const char*>(ahead),
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
