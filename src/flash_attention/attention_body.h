// The kernels of attention, written once over F32x16. Included at the end of
// attention_{scalar,avx2,avx512}.cc, after the F32x16 of that instruction set and a struct `Tuning`
// with
//   kScoreRows, kScoreVectors  rows (divides 8) and vectors of 16 keys (1 or 2) of a register tile
//   of scores; kValueRows, kValueVectors  rows and vectors of 16 dimensions of a register tile of
//   outputs.
// These change the order between rows and keys, never that of one output's sum. Defines kKernels.
#pragma once

#include "base/f32x16_math.h"
#include "flash_attention/kernels.h"

namespace millrace {
namespace {

constexpr int64_t kKeys = kBlockTokens;

// The keys begin <= j < end of the block that a row sees.
struct KeyRange {
  int begin;
  int end;
  bool empty() const { return begin >= end; }
};

inline int ClampToBlock(int64_t j) { return static_cast<int>(j < 0 ? 0 : (j > kKeys ? kKeys : j)); }

inline KeyRange RangeIn(const AttentionTile& tile, int64_t row, int64_t block) {
  return {ClampToBlock(tile.begin[row] - block * kKeys),
          ClampToBlock(tile.end[row] - block * kKeys)};
}

// ---- scores ----

// K as f32 [D][32]: keys 16 v .. 16 v + 15 of dimension d.
struct F32Keys {
  static constexpr int64_t kStep = 1;
  const float* data;
  F32x16 At(int64_t d, int v, int) const { return Load(data + d * kKeys + v * 16); }
};

// K as bf16 [D/2][32][2]: the pair of dimensions d, d + 1.
struct Bf16Keys {
  static constexpr int64_t kStep = 2;
  const uint16_t* data;
  F32x16 At(int64_t d, int v, int second) const {
    const uint16_t* p = data + d * kKeys + v * 32;
    return second ? LoadPairsSecond(p) : LoadPairsFirst(p);
  }
};

// scores[r][16 v + lane] for kRows rows and kVectors vectors from `vector`; q is [D][8], scores
// [rows][32].
template <int kRows, int kVectors, class Keys>
inline void ScoreRegisterTile(const float* q, Keys keys, int64_t dim, int vector, float* scores) {
  F32x16 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Set1(0.0f);
  }
  for (int64_t d = 0; d < dim; d += Keys::kStep) {
#pragma GCC unroll 2
    for (int step = 0; step < Keys::kStep; ++step) {
      F32x16 key[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) key[v] = keys.At(d, vector + v, step);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const F32x16 query = Set1(q[(d + step) * kRowGroup + r]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[r][v] = Fma(query, key[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) Store(scores + r * kKeys + (vector + v) * 16, sum[r][v]);
  }
}

template <int kRows, class Keys>
void ScoreRows(const float* q, Keys keys, int64_t dim, float* scores) {
  for (int v = 0; v < kKeys / 16; v += Tuning::kScoreVectors) {
    ScoreRegisterTile<kRows, Tuning::kScoreVectors>(q, keys, dim, v, scores);
  }
}

template <class Keys>
void ScoreGroup(const float* q, Keys keys, int64_t dim, int64_t rows, float* scores) {
  constexpr int kRows = Tuning::kScoreRows;
  for (; rows >= kRows; rows -= kRows, q += kRows, scores += kRows * kKeys) {
    ScoreRows<kRows>(q, keys, dim, scores);
  }
  if constexpr (kRows > 4) {
    if (rows >= 4) {
      ScoreRows<4>(q, keys, dim, scores);
      rows -= 4, q += 4, scores += 4 * kKeys;
    }
  }
  if (rows == 3) ScoreRows<3>(q, keys, dim, scores);
  if (rows == 2) ScoreRows<2>(q, keys, dim, scores);
  if (rows == 1) ScoreRows<1>(q, keys, dim, scores);
}

// c * tanh(s / c) in units of log2; the scores arrive divided by c.
void ApplySoftcap(float cap, int64_t rows, float* scores) {
  for (int64_t i = 0; i < rows * kKeys; i += 16) {
    Store(scores + i, Mul(Set1(cap), Tanh(Load(scores + i))));
  }
}

// scores [rows][32] of up to 8 rows of the tile from first_row, a multiple of 8, against one block;
// capped, not masked.
void BlockScores(const AttentionTile& tile, int64_t first_row, int64_t rows, int64_t block,
                 float* scores) {
  const float* q = tile.q + first_row * tile.head_dim;
  if (tile.bf16) {
    const Bf16Keys keys{reinterpret_cast<const uint16_t*>(tile.keys[block])};
    ScoreGroup(q, keys, tile.head_dim, rows, scores);
  } else {
    const F32Keys keys{reinterpret_cast<const float*>(tile.keys[block])};
    ScoreGroup(q, keys, tile.head_dim, rows, scores);
  }
  if (tile.cap != 0.0f) ApplySoftcap(tile.cap, rows, scores);
}

// ---- weighted values ----

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

void BlockValues(const AttentionTile& tile, int64_t block, const float* weights, int64_t stride,
                 const KeyRange* ranges, int64_t rows, float* output) {
  if (tile.bf16) {
    const Bf16Values values{reinterpret_cast<const uint16_t*>(tile.values[block]), tile.head_dim};
    AddValues(weights, stride, values, ranges, rows, output);
  } else {
    const F32Values values{reinterpret_cast<const float*>(tile.values[block]), tile.head_dim};
    AddValues(weights, stride, values, ranges, rows, output);
  }
}

// ---- flash ----

// x[i] *= factor
inline void ScaleRow(float* x, int64_t count, float factor) {
  const F32x16 f = Set1(factor);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) Store(x + i, Mul(Load(x + i), f));
  if (i < count) StoreFirst(x + i, Mul(LoadFirst(x + i, count - i), f), count - i);
}

inline float Exp2Of(float x) { return FirstLane(Exp2(Set1(x))); }

// Turns one row's 32 scores into weights 2^(score - max), having raised max, and with it rescaled
// sum and output, if one of the scores is higher. FlashAttention-2, algorithm 1, lines 9 and 10.
inline void SoftmaxStep(float* scores, KeyRange range, float* max, float* sum, float* output,
                        int64_t dim) {
  F32x16 low = Load(scores), high = Load(scores + 16);
  if (range.begin != 0 || range.end != kKeys) {
    const F32x16 masked = Set1(-__builtin_inff());
    low = Select(LaneRange(range.begin, range.end), low, masked);
    high = Select(LaneRange(range.begin - 16, range.end - 16), high, masked);
  }
  const float top = ReduceMax(Max(low, high));
  if (top > *max) {
    if (*max != -__builtin_inff()) {
      const float factor = Exp2Of(*max - top);
      *sum *= factor;
      ScaleRow(output, dim, factor);
    }
    *max = top;
  }
  const F32x16 maximum = Set1(*max);
  low = Exp2(Sub(low, maximum));
  high = Exp2(Sub(high, maximum));
  *sum += ReduceAdd(Add(low, high));
  Store(scores, low);
  Store(scores + 16, high);
}

void Chunk(const AttentionTile& tile, const AttentionState& state) {
  const int64_t dim = tile.head_dim;
  for (int64_t r = 0; r < tile.rows; ++r) {
    state.max[r] = -__builtin_inff();
    state.sum[r] = 0.0f;
  }
  __builtin_memset(state.output, 0, static_cast<size_t>(tile.rows * dim) * sizeof(float));
  // A block's keys and values stay in the first-level cache while all rows pass by.
  for (int64_t block = 0; block < tile.blocks; ++block) {
    for (int64_t first = 0; first < tile.rows; first += kRowGroup) {
      const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
      KeyRange ranges[kRowGroup];
      bool any = false;
      for (int64_t r = 0; r < rows; ++r) {
        ranges[r] = RangeIn(tile, first + r, block);
        any |= !ranges[r].empty();
      }
      if (!any) continue;
      alignas(64) float scores[kRowGroup * kKeys];
      BlockScores(tile, first, rows, block, scores);
      for (int64_t r = 0; r < rows; ++r) {
        if (ranges[r].empty()) continue;
        SoftmaxStep(scores + r * kKeys, ranges[r], state.max + first + r, state.sum + first + r,
                    state.output + (first + r) * dim, dim);
      }
      BlockValues(tile, block, scores, kKeys, ranges, rows, state.output + first * dim);
    }
  }
}

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

// ---- standard ----

void Scores(const AttentionTile& tile, float* out, int64_t stride) {
  const F32x16 masked = Set1(-__builtin_inff());
  for (int64_t first = 0; first < tile.rows; first += kRowGroup) {
    const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
    for (int64_t block = 0; block < tile.blocks; ++block) {
      alignas(64) float scores[kRowGroup * kKeys];
      BlockScores(tile, first, rows, block, scores);
      for (int64_t r = 0; r < rows; ++r) {
        const KeyRange range = RangeIn(tile, first + r, block);
        float* to = out + (first + r) * stride + block * kKeys;
        const Mask16 low = LaneRange(range.begin, range.end);
        const Mask16 high = LaneRange(range.begin - 16, range.end - 16);
        Store(to, Select(low, Load(scores + r * kKeys), masked));
        Store(to + 16, Select(high, Load(scores + r * kKeys + 16), masked));
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
  ScaleRow(out, count, total == 0.0f ? 0.0f : 1.0f / total);
}

void WeightedValues(const AttentionTile& tile, const float* probabilities, int64_t stride,
                    float* output) {
  const int64_t dim = tile.head_dim;
  __builtin_memset(output, 0, static_cast<size_t>(tile.rows * dim) * sizeof(float));
  for (int64_t first = 0; first < tile.rows; first += kRowGroup) {
    const int64_t rows = tile.rows - first < kRowGroup ? tile.rows - first : kRowGroup;
    for (int64_t block = 0; block < tile.blocks; ++block) {
      KeyRange ranges[kRowGroup];
      for (int64_t r = 0; r < rows; ++r) ranges[r] = RangeIn(tile, first + r, block);
      BlockValues(tile, block, probabilities + first * stride + block * kKeys, stride, ranges, rows,
                  output + first * dim);
    }
  }
}

constexpr AttentionKernels kKernels = {
    .chunk = Chunk,
    .merge = Merge,
    .finish = Finish,
    .scores = Scores,
    .probabilities = Probabilities,
    .weighted_values = WeightedValues,
};

}  // namespace
}  // namespace millrace
