#include <gtest/gtest.h>

#include <cmath>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "base/float16.h"
#include "base/id.h"
#include "base/result.h"
#include "base/rng.h"

namespace millrace {
namespace {

TEST(Result, HoldsValueOrError) {
  Result<int> good = 3;
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(*good, 3);
  Result<int> bad = Error{"no"};
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "no");
  auto twice = [](Result<int> r) -> Result<int> {
    ASSIGN_OR_RETURN(int x, std::move(r));
    return 2 * x;
  };
  EXPECT_EQ(*twice(4), 8);
  EXPECT_EQ(twice(Error{"why"}).error().message, "why");
}

TEST(Float16, EveryHalfRoundTrips) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const float f = F16ToF32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(f))));
    } else {
      EXPECT_EQ(F32ToF16(f), h);
    }
  }
}

TEST(Float16, RoundsToNearestEven) {
  EXPECT_EQ(F32ToF16(1.0f + 0x1p-11f), F32ToF16(1.0f));  // a tie goes to the even mantissa
  EXPECT_EQ(F32ToF16(1.0f + 3 * 0x1p-11f), F32ToF16(1.0f + 2 * 0x1p-10f));
  EXPECT_EQ(F32ToF16(65519.0f), 0x7bff);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(F32ToBf16(1.0f + 0x1p-8f), F32ToBf16(1.0f));
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(NAN))));
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(RowBytes(DType::kQ4_K, 512), 288);
  EXPECT_EQ(NameOf(DType::kIQ4_XS), "IQ4_XS");
  EXPECT_FALSE(FindDType(4).has_value());
  EXPECT_EQ(FindDTypeByName("Q6_K")->type, DType::kQ6_K);
}

TEST(CounterRng, DependsOnSeedAndPositionOnly) {
  EXPECT_EQ(CounterRng(1, 2).NextU64(), CounterRng(1, 2).NextU64());
  EXPECT_NE(CounterRng(1, 2).NextU64(), CounterRng(2, 1).NextU64());
  double sum = 0;
  for (uint64_t p = 0; p < 100000; ++p) sum += CounterRng(7, p).NextDouble();
  EXPECT_NEAR(sum / 100000, 0.5, 0.01);
}

TEST(AlignedBuffer, AlignedAndZeroed) {
  AlignedBuffer<float> b(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % kCacheLine, 0u);
  for (float f : b.span()) EXPECT_EQ(f, 0.0f);
}

}  // namespace
}  // namespace millrace
