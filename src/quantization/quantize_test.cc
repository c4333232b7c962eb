// The quantiser's round trip, golden blocks worked out by hand, and packing as a permutation.
#include "quantization/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quantization/block_formats.h"
#include "quantization/test_support.h"

namespace millrace {
namespace {

std::vector<float> Decode(DType type, const std::vector<uint8_t>& block) {
  std::vector<float> out(static_cast<size_t>(InfoOf(type).block_elements));
  DequantizeBlocks(type, std::as_bytes(std::span(block)), out);
  return out;
}

TEST(GoldenBlocks, Q4_0) {
  std::vector<uint8_t> b(18, 0x88);
  b[0] = 0x00, b[1] = 0x38;  // d = 0.5
  b[2] = 0xf0;               // element 0: 0 - 8, element 16: 15 - 8
  const auto y = Decode(DType::kQ4_0, b);
  EXPECT_EQ(y[0], -4.0f);
  EXPECT_EQ(y[16], 3.5f);
  EXPECT_EQ(y[1], 0.0f);
}

TEST(GoldenBlocks, Q8_0) {
  std::vector<uint8_t> b(34, 0);
  b[0] = 0x00, b[1] = 0x40;  // d = 2
  b[2] = 0x80, b[33] = 127;
  const auto y = Decode(DType::kQ8_0, b);
  EXPECT_EQ(y[0], -256.0f);
  EXPECT_EQ(y[31], 254.0f);
  EXPECT_EQ(y[1], 0.0f);
}

TEST(GoldenBlocks, Q4_KAndQ5_K) {
  ScalesAndMins s = {{1, 2, 3, 63, 5, 6, 7, 40}, {9, 10, 11, 12, 13, 14, 63, 33}};
  for (DType type : {DType::kQ4_K, DType::kQ5_K}) {
    std::vector<uint8_t> b(static_cast<size_t>(InfoOf(type).block_bytes), 0);
    b[0] = 0x00, b[1] = 0x3c;  // d = 1
    b[2] = 0x00, b[3] = 0x38;  // dmin = 0.5
    PackScalesAndMins(s, b.data() + 4);
    const size_t codes = type == DType::kQ4_K ? 16 : 48;
    b[codes + 32] = 0x7b;                      // elements 64 (11) and 96 (7)
    if (type == DType::kQ5_K) b[16] = 1 << 3;  // the fifth bit of element 96
    const auto y = Decode(type, b);
    EXPECT_EQ(y[64], 3.0f * 11 - 0.5f * 11);
    EXPECT_EQ(y[96], 63.0f * (type == DType::kQ5_K ? 23 : 7) - 0.5f * 12);
    EXPECT_EQ(y[255], -0.5f * 33);
    EXPECT_EQ(y[192], -0.5f * 63);
  }
}

TEST(GoldenBlocks, Q6_K) {
  std::vector<uint8_t> b(210, 0);
  b[208] = 0x00, b[209] = 0x3c;  // d = 1
  for (size_t s = 0; s < 16; ++s) b[192 + s] = static_cast<uint8_t>(-3);
  b[64 + 32 + 1] = 0x5a;              // half 1: elements 128+33 (10) and 128+97 (5)
  b[128 + 32 + 1] = 2 << 2 | 3 << 6;  // their high bits: 2 and 3
  const auto y = Decode(DType::kQ6_K, b);
  EXPECT_EQ(y[128 + 33], -3.0f * (42 - 32));
  EXPECT_EQ(y[128 + 97], -3.0f * (53 - 32));
  EXPECT_EQ(y[0], 96.0f);
}

TEST(GoldenBlocks, MXFP4) {
  std::vector<uint8_t> b(17, 0);
  b[0] = 129;  // 2^1
  b[1] = 0xf7;
  const auto y = Decode(DType::kMXFP4, b);
  EXPECT_EQ(y[0], 24.0f);
  EXPECT_EQ(y[16], -24.0f);
  EXPECT_EQ(y[1], 0.0f);
}

TEST(ScalesAndMins, RoundTrip) {
  CounterRng rng(1, 1);
  for (int i = 0; i < 1000; ++i) {
    ScalesAndMins s;
    for (uint8_t& v : s.scale) v = static_cast<uint8_t>(rng.NextU64() & 63);
    for (uint8_t& v : s.min) v = static_cast<uint8_t>(rng.NextU64() & 63);
    uint8_t bytes[12];
    PackScalesAndMins(s, bytes);
    const ScalesAndMins back = UnpackScalesAndMins(bytes);
    EXPECT_EQ(std::memcmp(&s, &back, sizeof(s)), 0);
  }
}

// Root mean square error over normal values, relative to their deviation. A uniform grid of b bits
// over +-3.4 deviations (the largest of 32 or so) has a step of 6.8 / 2^b and an error of step /
// sqrt(12).
TEST(Quantize, ErrorIsThatOfTheGrid) {
  const auto x = RandomFloats(64 * 256, 3);
  const struct {
    DType type;
    double bits;
  } cases[] = {{DType::kQ8_0, 8}, {DType::kQ6_K, 6}, {DType::kQ5_K, 5}, {DType::kQ4_K, 4},
               {DType::kQ4_0, 4}, {DType::kF16, 11}, {DType::kBF16, 8}, {DType::kF32, 24}};
  for (const auto& c : cases) {
    SCOPED_TRACE(NameOf(c.type));
    std::vector<std::byte> blocks(
        static_cast<size_t>(RowBytes(c.type, static_cast<int64_t>(x.size()))));
    QuantizeRow(c.type, x, blocks);
    std::vector<float> back(x.size());
    DequantizeBlocks(c.type, blocks, back);
    double error = 0;
    for (size_t i = 0; i < x.size(); ++i) error += std::pow(back[i] - x[i], 2);
    EXPECT_LT(std::sqrt(error / static_cast<double>(x.size())),
              6.8 / std::exp2(c.bits) / std::sqrt(12.0));
  }
}

TEST(Quantize, ExtremesGiveFiniteBlocks) {
  const float inf = std::numeric_limits<float>::infinity();
  for (float value : {0.0f, 1.0f, -1.0f, 1e-30f, -1e-38f, 1000.0f, inf, -inf, std::nanf("")}) {
    for (DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      SCOPED_TRACE(std::string(NameOf(type)) + " " + std::to_string(value));
      std::vector<float> x(256, value), back(256);
      std::vector<std::byte> blocks(static_cast<size_t>(RowBytes(type, 256)));
      QuantizeRow(type, x, blocks);
      DequantizeBlocks(type, blocks, back);
      const float wanted = std::isfinite(value) ? value : 0.0f;
      for (float y : back) ASSERT_NEAR(y, wanted, std::fabs(wanted) * 0.02 + 1e-7);
    }
  }
}

TEST(WeightMatrix, RowsComeBackBitForBit) {
  ThreadPool pool(2);
  for (DType type : WeightMatrix::SupportedTypes()) {
    SCOPED_TRACE(NameOf(type));
    const int64_t block = InfoOf(type).block_elements;
    for (int64_t k : {block, 3 * block, 9 * block, int64_t{768}}) {
      const int64_t n = 37;
      const auto source = block == 1 ? RandomWeights(type, n, k, 4) : RandomBlocks(type, n, k, 4);
      const auto w = WeightMatrix::Pack(type, n, k, source, pool);
      ASSERT_TRUE(w.ok());
      EXPECT_EQ(w->panels(), 3);
      std::vector<float> expected(static_cast<size_t>(k)), got(static_cast<size_t>(k));
      for (int64_t r = 0; r < n; ++r) {
        const size_t bytes = static_cast<size_t>(RowBytes(type, k));
        DequantizeBlocks(type, std::span(source).subspan(static_cast<size_t>(r) * bytes, bytes),
                         expected);
        w->DequantizeRow(r, got);
        ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size() * 4), 0) << r;
      }
    }
  }
}

TEST(WeightMatrix, PackedSizeIsTheFilesWithinTwoPercent) {
  ThreadPool pool(1);
  for (DType type : WeightMatrix::SupportedTypes()) {
    const std::vector<std::byte> source(static_cast<size_t>(64 * RowBytes(type, 2048)));
    const auto w = WeightMatrix::Pack(type, 64, 2048, source, pool);
    ASSERT_TRUE(w.ok());
    EXPECT_LE(w->bytes(), source.size() + source.size() / 50) << NameOf(type);
  }
}

TEST(WeightMatrix, UnsupportedTypeNamesItselfAndTheChoices) {
  ThreadPool pool(1);
  const auto w = WeightMatrix::Pack(DType::kQ8_K, 16, 256, {}, pool);
  ASSERT_FALSE(w.ok());
  EXPECT_NE(w.error().message.find("Q8_K"), std::string::npos);
  EXPECT_NE(w.error().message.find("Q4_K"), std::string::npos);
  EXPECT_EQ(w.error().kind, ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace millrace
