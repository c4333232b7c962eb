// What the tests and benchmarks of this module share: random activations and random weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "base/float16.h"
#include "base/rng.h"
#include "quantization/quantize.h"
#include "quantization/weight_matrix.h"

namespace millrace {

// About normal: the sum of four uniforms, of variance 1.
inline float NextNormal(CounterRng& rng) {
  double sum = -2.0;
  for (int i = 0; i < 4; ++i) sum += rng.NextDouble();
  return static_cast<float>(sum * 1.7320508);
}

inline std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  std::vector<float> x(static_cast<size_t>(count));
  CounterRng rng(seed, 0);
  for (float& v : x) v = NextNormal(rng);
  return x;
}

inline std::vector<std::byte> RandomBlocks(DType type, int64_t rows, int64_t columns,
                                           uint64_t seed);

// Rows of normal weights of deviation 0.05, quantised; arbitrary blocks where there is no quantiser
// for the type.
inline std::vector<std::byte> RandomWeights(DType type, int64_t rows, int64_t columns,
                                            uint64_t seed) {
  if (!CanQuantize(type)) return RandomBlocks(type, rows, columns, seed);
  std::vector<float> x = RandomFloats(rows * columns, seed);
  for (float& v : x) v *= 0.05f;
  std::vector<std::byte> blocks(static_cast<size_t>(rows * RowBytes(type, columns)));
  QuantizeRow(type, x, blocks);
  return blocks;
}

// Blocks of arbitrary bits, except that the scales are moderate: every code and every sub-block
// scale occurs.
inline std::vector<std::byte> RandomBlocks(DType type, int64_t rows, int64_t columns,
                                           uint64_t seed) {
  CHECK(type != DType::kF32 && type != DType::kF16 && type != DType::kBF16);
  std::vector<std::byte> blocks(static_cast<size_t>(rows * RowBytes(type, columns)));
  CounterRng rng(seed, 1);
  for (std::byte& b : blocks) b = static_cast<std::byte>(rng.NextU64() & 255);
  const size_t block_bytes = static_cast<size_t>(InfoOf(type).block_bytes);
  const auto store = [&](size_t at) {
    const uint16_t h = F32ToF16(static_cast<float>(rng.NextDouble() * 0.02 - 0.01));
    std::memcpy(blocks.data() + at, &h, sizeof(h));
  };
  for (size_t at = 0; at < blocks.size(); at += block_bytes) {
    switch (type) {
      case DType::kMXFP4:  // 2^-11 to 2^-4
        blocks[at] = static_cast<std::byte>(117 + (rng.NextU64() & 7));
        break;
      case DType::kQ2_K:
        store(at + 80);
        store(at + 82);
        break;
      case DType::kQ3_K:
        store(at + 108);
        break;
      case DType::kQ6_K:
        store(at + 208);
        break;
      case DType::kQ4_1:
      case DType::kQ5_1:
      case DType::kQ4_K:
      case DType::kQ5_K:
        store(at + 2);
        [[fallthrough]];
      default:
        store(at);
    }
  }
  return blocks;
}

}  // namespace millrace
