// The dot product that a search by vectors is made of. Internal to prompt_reduction/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

inline constexpr int64_t kDotStep = 32;  // rows are padded with zeros to a multiple of so many

// A vector of f32, its even and its odd elements apart, as pairs of bf16 are multiplied with it.
struct SplitVector {
  explicit SplitVector(std::span<const float> vector);
  std::vector<float> even, odd;  // padded with zeros
};

// The sum of row[i] * vector[i] over the `count` elements of a row of bf16, a multiple of kDotStep:
// sixteen sums of the even and sixteen of the odd products, then their sum as ReduceAdd has it
// (base/f32x16_scalar.h): the same bits on every instruction set.
using Bf16Dot = float (*)(const uint16_t* row, const float* even, const float* odd, int64_t count);
Bf16Dot Bf16DotForThisMachine();

namespace bf16_dot_internal {
extern const Bf16Dot kScalar;
#if defined(__x86_64__)
extern const Bf16Dot kAvx2;
#endif
}  // namespace bf16_dot_internal

}  // namespace millrace
