#include "prompt_reduction/bf16_dot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/float16.h"
#include "base/rng.h"
#include "simd/isa.h"

namespace millrace {
namespace {

struct DotCase {
  std::vector<float> vector;
  std::vector<uint16_t> row;  // padded
};

DotCase RandomDotCase(uint64_t seed, size_t width) {
  DotCase made;
  for (size_t i = 0; i < width; ++i) {
    made.vector.push_back(static_cast<float>(2 * CounterRng(seed, 2 * i).NextDouble() - 1));
    made.row.push_back(
        F32ToBf16(static_cast<float>(2 * CounterRng(seed, 2 * i + 1).NextDouble() - 1)));
  }
  made.row.resize((width + kDotStep - 1) / kDotStep * kDotStep);
  return made;
}

float DotOf(Bf16Dot dot, const DotCase& c) {
  const SplitVector split(c.vector);
  return dot(c.row.data(), split.even.data(), split.odd.data(), std::ssize(c.row));
}

TEST(Bf16Dot, IsTheSumOfProducts) {
  for (const size_t width : {1u, 2u, 31u, 32u, 33u, 64u, 100u, 384u, 1025u}) {
    const DotCase c = RandomDotCase(width, width);
    double expected = 0;
    for (size_t i = 0; i < width; ++i) expected += double{c.vector[i]} * Bf16ToF32(c.row[i]);
    const double n = static_cast<double>(width);
    EXPECT_NEAR(DotOf(Bf16DotForThisMachine(), c), expected, 0x1p-24 * (n / 32 + 8) * n) << width;
  }
}

TEST(Bf16Dot, HasTheSameBitsOnEveryInstructionSet) {
  for (const size_t width : {1u, 33u, 64u, 768u}) {
    const DotCase c = RandomDotCase(7 + width, width);
    const float scalar = DotOf(bf16_dot_internal::kScalar, c);
    const float here = DotOf(Bf16DotForThisMachine(), c);
    EXPECT_EQ(std::memcmp(&scalar, &here, sizeof(scalar)), 0) << width;
  }
}

}  // namespace
}  // namespace millrace
