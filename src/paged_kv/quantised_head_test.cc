#include "paged_kv/quantised_head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "paged_kv/kv_store.h"

namespace millrace {
namespace {

std::vector<float> RandomHead(uint64_t seed, int32_t dim) {
  std::vector<float> x(static_cast<size_t>(dim));
  CounterRng rng(seed, 0);
  for (float& value : x) value = static_cast<float>(2 * rng.NextDouble() - 1);
  return x;
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

TEST(RotateHead, KeepsDotProductsAndIsItsOwnInverse) {
  for (int32_t dim : {1, 2, 4, 6, 10, 16, 64, 80, 96, 128, 256}) {
    const std::vector<float> a = RandomHead(1, dim), b = RandomHead(2, dim);
    std::vector<float> c = a, d = b;
    RotateHead(c.data(), dim);
    RotateHead(d.data(), dim);
    EXPECT_NEAR(Dot(a, b), Dot(c, d), 1e-5 * dim) << dim;
    if (dim % 2 == 0) {
      EXPECT_NE(a, c);
    }
    RotateHead(c.data(), dim);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], c[i], 1e-6) << dim;
  }
}

TEST(RotateHead, SpreadsAnOutlier) {
  std::vector<float> x(64, 0.0f);
  x[17] = 8.0f;
  RotateHead(x.data(), 64);
  for (float value : x) EXPECT_EQ(std::fabs(value), 1.0f);
}

TEST(QuantiseHead, IsWithinHalfACode) {
  for (int32_t dim : {2, 10, 64, 80}) {
    for (float size : {1e-30f, 1.0f, 1e30f}) {
      std::vector<float> x = RandomHead(static_cast<uint64_t>(dim), dim);
      for (float& value : x) value *= size;
      std::vector<int8_t> codes(static_cast<size_t>(PaddedToSixteen(dim)), int8_t{55});
      const float scale = QuantiseHead(x.data(), dim, codes.data());
      RotateHead(x.data(), dim);
      int largest = 0;
      for (size_t i = 0; i < codes.size(); ++i) {
        largest = std::max(largest, std::abs(static_cast<int>(codes[i])));
        if (i >= x.size()) {
          EXPECT_EQ(codes[i], 0);
        } else {
          EXPECT_NEAR(codes[i] * scale, x[i], 0.50001f * scale);
        }
      }
      EXPECT_EQ(largest, 127);
    }
  }
}

TEST(QuantiseHead, MarksWhatHasNoCode) {
  std::vector<int8_t> codes(16, int8_t{55});
  const std::vector<int8_t> zeros(16, int8_t{0});
  for (float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(16, 1.0f);
    x[5] = bad;
    EXPECT_TRUE(std::isnan(QuantiseHead(x.data(), 16, codes.data())));
    EXPECT_EQ(codes, zeros);
  }
  const std::vector<float> nothing(16, 0.0f);
  EXPECT_EQ(QuantiseHead(nothing.data(), 16, codes.data()), 0.0f);
  EXPECT_EQ(codes, zeros);
}

// The layout of kv_store.h, element by element.
TEST(KvStore, HoldsCodesAndScalesOfQ8) {
  constexpr KvShape kHeads{2, 2, 10};
  constexpr int32_t kPadded = 16, kSlot = 13;
  EXPECT_EQ(KvStore::BlockBytes(kHeads, KvType::kQ8_0), 2 * 2 * 2 * (32 * kPadded + 32 * 4));
  KvStore kv = std::move(KvStore::Create(kHeads, KvType::kQ8_0, 2).value());
  const std::vector<float> k = RandomHead(3, 20), v = RandomHead(4, 20);
  kv.Write(1, BlockId(1), kSlot, k.data(), v.data());
  for (int32_t head = 0; head < 2; ++head) {
    int8_t key[kPadded], value[kPadded];
    const float key_scale = QuantiseHead(k.data() + head * 10, 10, key);
    const float value_scale = QuantiseHead(v.data() + head * 10, 10, value);
    const std::byte* keys = kv.Keys(1, BlockId(1), head);
    const std::byte* values = kv.Values(1, BlockId(1), head);
    for (int32_t d = 0; d < kPadded; ++d) {
      EXPECT_EQ(static_cast<int>(keys[d / 4 * 128 + kSlot * 4 + d % 4]) - 128, key[d]);
      EXPECT_EQ(static_cast<int8_t>(values[kSlot / 4 * kPadded * 4 + d * 4 + kSlot % 4]), value[d]);
    }
    EXPECT_EQ(std::memcmp(keys + 32 * kPadded + 4 * kSlot, &key_scale, 4), 0);
    EXPECT_EQ(std::memcmp(values + 32 * kPadded + 4 * kSlot, &value_scale, 4), 0);
  }
}

TEST(KvStore, MagnitudesThatBf16ProductsCannotHoldBecomeZero) {
  EXPECT_EQ(ToStoredBf16(0x1.fep-51f), 0);
  EXPECT_EQ(ToStoredBf16(-0x1.fep-51f), 0);
  EXPECT_NE(ToStoredBf16(kSmallestBf16), 0);
  EXPECT_NE(ToStoredBf16(-kSmallestBf16), 0);
}

}  // namespace
}  // namespace millrace
