// For the tests of attention: sequences with random keys and values in a KvStore that is otherwise
// NaN, and a float64 reference with an error bound for each row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "base/float16.h"
#include "base/rng.h"
#include "flash_attention/attention.h"
#include "paged_kv/quantised_head.h"

namespace millrace {

struct TestShape {
  int32_t kv_heads = 2;
  int32_t group = 1;  // query heads per KV head
  int32_t head_dim = 64;
  KvType type = KvType::kBf16;

  int32_t heads() const { return kv_heads * group; }
  int64_t width() const { return int64_t{heads()} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }
};

// A number in (-1, 1) for each (seed, index).
inline float RandomAt(uint64_t seed, int64_t index) {
  return static_cast<float>(CounterRng(seed, static_cast<uint64_t>(index)).NextDouble() * 2 - 1);
}

inline std::vector<float> RandomFloats(uint64_t seed, int64_t count, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = scale * RandomAt(seed, i);
  return values;
}

// Queries, keys and values of `length` positions, and the blocks that hold them.
struct TestSequence {
  int32_t length = 0;
  std::vector<float> q;     // [length][width]
  std::vector<float> k, v;  // [length][kv_width]; of bf16 representable in it
  std::vector<BlockId> blocks;
};

inline TestSequence MakeSequence(const TestShape& shape, int32_t length, uint64_t seed) {
  TestSequence s;
  s.length = length;
  s.q = RandomFloats(seed * 3, length * shape.width(), 2.0f);
  s.k = RandomFloats(seed * 3 + 1, length * shape.kv_width(), 2.0f);
  s.v = RandomFloats(seed * 3 + 2, length * shape.kv_width(), 1.0f);
  if (shape.type == KvType::kBf16) {
    for (float& x : s.k) x = Bf16ToF32(F32ToBf16(x));
    for (float& x : s.v) x = Bf16ToF32(F32ToBf16(x));
  }
  return s;
}

// Memory for the sequences; every slot without a position is NaN.
class TestStore {
 public:
  static constexpr int32_t kLayers = 2;
  static constexpr int32_t kLayer = 1;

  TestStore(const TestShape& shape, int32_t blocks)
      : shape_(shape),
        kv_(std::move(KvStore::Create({kLayers, shape.kv_heads, shape.head_dim}, shape.type, blocks)
                          .value())) {
    const std::vector<float> nan(static_cast<size_t>(shape.kv_width()),
                                 std::numeric_limits<float>::quiet_NaN());
    for (int32_t layer = 0; layer < kLayers; ++layer) {
      for (int32_t block = 0; block < blocks; ++block) {
        for (int32_t slot = 0; slot < kBlockTokens; ++slot) {
          kv_.Write(layer, BlockId(block), slot, nan.data(), nan.data());
        }
      }
    }
  }

  // Writes positions [begin, end) of the sequence, which already has its blocks.
  void Write(const TestSequence& s, int32_t begin, int32_t end) {
    for (int32_t i = begin; i < end; ++i) {
      kv_.Write(kLayer, s.blocks[static_cast<size_t>(i / kBlockTokens)], i % kBlockTokens,
                s.k.data() + i * shape_.kv_width(), s.v.data() + i * shape_.kv_width());
    }
  }

  const KvStore& kv() const { return kv_; }

 private:
  TestShape shape_;
  KvStore kv_;
};

// Blocks first, first + step, ... modulo `modulus`.
inline std::vector<BlockId> Blocks(int32_t count, int32_t first, int32_t step, int32_t modulus) {
  std::vector<BlockId> blocks;
  for (int32_t i = 0; i < count; ++i) blocks.push_back(BlockId((first + i * step) % modulus));
  return blocks;
}

enum class Method { kFlash, kStandard };

inline AttentionConfig TestConfig(const TestShape& shape, std::optional<float> softcap,
                                  std::optional<int32_t> window) {
  return {.heads = shape.heads(),
          .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
          .softcap = softcap,
          .window = window};
}

// Positions [begin, end) of a sequence.
struct TestPiece {
  const TestSequence* sequence;
  int32_t begin, end;
};

// Attention of all pieces in one batch: [rows of all][width].
inline std::vector<float> RunAttention(const AttentionKernels& kernels, Method method,
                                       ThreadPool& pool, const TestShape& shape,
                                       const AttentionConfig& config, const TestStore& store,
                                       const std::vector<TestPiece>& pieces) {
  std::vector<float> q;
  std::vector<AttentionRows> rows;
  for (const TestPiece& p : pieces) {
    const int64_t first = static_cast<int64_t>(q.size()) / shape.width();
    rows.push_back({first, p.end - p.begin, p.begin, p.sequence->blocks});
    q.insert(q.end(), p.sequence->q.begin() + p.begin * shape.width(),
             p.sequence->q.begin() + p.end * shape.width());
  }
  std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
  const int64_t total = static_cast<int64_t>(q.size()) / shape.width();
  const MatrixView<const float> q_view{q.data(), total, shape.width(), shape.width()};
  const MatrixView<float> out_view{out.data(), total, shape.width(), shape.width()};
  if (method == Method::kFlash) {
    FlashAttention(kernels, pool, store.kv(), TestStore::kLayer, config, rows, q_view, out_view);
  } else {
    StandardAttention(kernels, pool, store.kv(), TestStore::kLayer, config, rows, q_view, out_view);
  }
  return out;
}

struct ReferenceRow {
  std::vector<double> out;    // [width]
  std::vector<double> bound;  // of the error of f32 attention, see ReferenceAttention
};

inline double Norm(const float* x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += double{x[i]} * x[i];
  return std::sqrt(sum);
}

// Half of what a q8_0 code is worth.
inline double HalfCode(const float* x, int32_t dim) {
  std::vector<int8_t> codes(static_cast<size_t>(PaddedToSixteen(dim)));
  return QuantiseHead(x, dim, codes.data()) / 2.0;
}

// How far a score may be off. A dot product of D terms in f32 has error (D + 4) u sum |q k|, with
// u = 2^-24. Of bf16, the query is rounded too (2^-9). Of q8_0, each element of the rotated query
// and key is off by half a code, and by Cauchy and Schwarz the sum by the norms below.
inline double ScoreBound(const TestShape& shape, const float* q, const float* k, double magnitude) {
  const int32_t dim = shape.head_dim;
  double bound = (dim + 4) * 0x1p-24 * magnitude;
  if (shape.type == KvType::kBf16) bound += 0x1p-9 * magnitude;
  if (shape.type == KvType::kQ8_0) {
    const double root = std::sqrt(dim), query = HalfCode(q, dim), key = HalfCode(k, dim);
    bound += root * (Norm(q, dim) * key + Norm(k, dim) * query) + dim * query * key;
  }
  return bound;
}

// One head of one row in double. The bound: an error of a score moves each probability relatively
// by twice as much; softcap adds 8 u c; exponentials, sums over the keys seen and the merging of
// chunks add (keys + 64) u; of bf16, rounding the weights adds 2^-9, for them and for their sum;
// all relative to the sum of p |v|. Of q8_0, a value is off by half a code in each rotated
// dimension, and a weight by half of 1/32767 of the largest in its chunk.
inline void ReferenceHead(const TestShape& shape, const AttentionConfig& config,
                          const TestSequence& s, int32_t position, int32_t head,
                          ReferenceRow& row) {
  constexpr double kUnit = 0x1p-24;
  const int64_t dim = shape.head_dim;
  const float* q = s.q.data() + position * shape.width() + head * dim;
  const int64_t kv_offset = head / shape.group * dim;
  const int32_t first = config.window ? std::max(0, position - *config.window + 1) : 0;
  const int32_t last = config.mask == AttentionMask::kAll ? s.length - 1 : position;
  std::vector<double> p;
  double worst = 0;
  for (int32_t j = first; j <= last; ++j) {
    const float* k = s.k.data() + j * shape.kv_width() + kv_offset;
    double dot = 0, magnitude = 0;
    for (int64_t d = 0; d < dim; ++d) {
      dot += double{q[d]} * k[d];
      magnitude += std::abs(double{q[d]} * k[d]);
    }
    double score = dot * config.scale;
    if (config.softcap) score = *config.softcap * std::tanh(score / *config.softcap);
    worst = std::max(worst, ScoreBound(shape, q, k, magnitude) * config.scale);
    p.push_back(score);
  }
  const double max = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - max);
  const double score_error = worst + (config.softcap ? 8 * kUnit * *config.softcap : 0.0);
  const auto keys = static_cast<double>(p.size());
  const double relative = std::expm1(2 * score_error) + (keys + 64) * kUnit +
                          (shape.type == KvType::kBf16 ? 2 * 0x1p-9 : 0.0);
  double absolute = 0;  // what q8_0 adds, the same in every dimension
  if (shape.type == KvType::kQ8_0) {
    double largest = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      const int64_t key = first + static_cast<int64_t>(j);
      const double half = HalfCode(s.v.data() + key * shape.kv_width() + kv_offset, shape.head_dim);
      absolute += p[j] * half / sum;
      largest = std::max(largest, p[j] * 254 * half / sum);
    }
    absolute = std::sqrt(dim) * (absolute + keys * largest / 32767);
    absolute *= 1 + relative;
  }
  for (int64_t d = 0; d < dim; ++d) {
    double out = 0, magnitude = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      const double v = s.v[static_cast<size_t>(
          (first + static_cast<int64_t>(j)) * shape.kv_width() + kv_offset + d)];
      out += p[j] * v;
      magnitude += p[j] * std::abs(v);
    }
    row.out[static_cast<size_t>(head * dim + d)] = out / sum;
    row.bound[static_cast<size_t>(head * dim + d)] = relative * magnitude / sum + absolute;
  }
}

inline ReferenceRow ReferenceAttention(const TestShape& shape, const AttentionConfig& config,
                                       const TestSequence& s, int32_t position) {
  ReferenceRow row;
  row.out.resize(static_cast<size_t>(shape.width()));
  row.bound.resize(static_cast<size_t>(shape.width()));
  for (int32_t head = 0; head < shape.heads(); ++head)
    ReferenceHead(shape, config, s, position, head, row);
  return row;
}

// Equal as bits, so that NaN or a lost sign is not taken for equality.
inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace millrace
