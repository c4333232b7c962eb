// The quantiser's round trip, golden blocks worked out by hand, and packing as a permutation.
#include "quantization/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
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

std::vector<float> RoundTrip(DType type, std::span<const float> x,
                             std::span<const float> importance = {}, Isa isa = Isa::kScalar) {
  std::vector<std::byte> blocks(
      static_cast<size_t>(RowBytes(type, static_cast<int64_t>(x.size()))));
  QuantizeRows(FitKernelsFor(isa), type, x, importance, blocks);
  std::vector<float> back(x.size());
  DequantizeBlocks(type, blocks, back);
  return back;
}

constexpr DType kBlockTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,
                                 DType::kQ5_1, DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS,
                                 DType::kMXFP4};

// Root mean square error over normal values, relative to their deviation: near the least that each
// format can reach for them, so that a search that stops working is seen. (A uniform grid of b bits
// over +-3.4 deviations has an error of 6.8 / 2^b / sqrt(12).)
TEST(Quantize, ErrorIsThatOfTheGrid) {
  const auto x = RandomFloats(64 * 256, 3);
  const struct {
    DType type;
    double most;
  } cases[] = {{DType::kF32, 0},         {DType::kF16, 3e-4},     {DType::kBF16, 2.4e-3},
               {DType::kQ8_0, 0.0058},   {DType::kQ6_K, 0.0190},  {DType::kQ5_K, 0.0345},
               {DType::kQ5_1, 0.0375},   {DType::kQ5_0, 0.0420},  {DType::kQ4_K, 0.0720},
               {DType::kQ4_1, 0.0780},   {DType::kQ4_0, 0.0850},  {DType::kIQ4_NL, 0.0800},
               {DType::kIQ4_XS, 0.0790}, {DType::kMXFP4, 0.1150}, {DType::kQ3_K, 0.1540},
               {DType::kQ2_K, 0.2900}};
  for (const auto& c : cases) {
    SCOPED_TRACE(NameOf(c.type));
    const std::vector<float> back = RoundTrip(c.type, x);
    double error = 0;
    for (size_t i = 0; i < x.size(); ++i) error += std::pow(back[i] - x[i], 2);
    error = std::sqrt(error / static_cast<double>(x.size()));
    EXPECT_LE(error, c.most);
  }
}

// No element is further off than the format's own grid allows: a step of its sub-block (for the
// asymmetric grids of four bits the largest step), of the block's largest magnitude.
TEST(Quantize, NoElementIsFurtherOffThanTheGridAllows) {
  const auto x = RandomFloats(64 * 256, 5);
  const struct {
    DType type;
    double share;  // of the block's largest magnitude
  } cases[] = {{DType::kQ8_0, 0.5 / 127}, {DType::kQ6_K, 0.06},  {DType::kQ5_K, 0.07},
               {DType::kQ5_1, 0.07},      {DType::kQ5_0, 0.08},  {DType::kQ4_K, 0.14},
               {DType::kQ4_1, 0.14},      {DType::kQ4_0, 0.16},  {DType::kIQ4_NL, 0.16},
               {DType::kIQ4_XS, 0.18},    {DType::kMXFP4, 0.26}, {DType::kQ3_K, 0.34},
               {DType::kQ2_K, 0.60}};
  for (const auto& c : cases) {
    SCOPED_TRACE(NameOf(c.type));
    const std::vector<float> back = RoundTrip(c.type, x);
    const auto n = static_cast<size_t>(InfoOf(c.type).block_elements);
    for (size_t at = 0; at < x.size(); at += n) {
      float largest = 0;
      for (size_t i = at; i < at + n; ++i) largest = std::max(largest, std::fabs(x[i]));
      for (size_t i = at; i < at + n; ++i)
        ASSERT_LE(std::fabs(back[i] - x[i]), c.share * largest * 1.001 + 1e-6) << i;
    }
  }
}

TEST(Quantize, EveryInstructionSetWritesTheSameBytes) {
  auto x = RandomFloats(7 * 256, 6), importance = RandomFloats(256, 7);
  for (float& v : importance) v = v * v;
  for (const DType type : kBlockTypes) {
    const auto bytes = static_cast<size_t>(RowBytes(type, static_cast<int64_t>(x.size())));
    for (const std::span<const float> imp :
         {std::span<const float>(), std::span<const float>(importance)}) {
      std::vector<std::byte> expected(bytes), got(bytes);
      QuantizeRows(FitKernelsFor(Isa::kScalar), type, x, imp, expected);
      for (const Isa isa : SupportedIsas()) {
        QuantizeRows(FitKernelsFor(isa), type, x, imp, got);
        EXPECT_EQ(std::memcmp(got.data(), expected.data(), bytes), 0)
            << NameOf(type) << " " << NameOf(isa);
      }
    }
  }
}

// What quantising gives is a fixed point: the same floats come back from a second round.
TEST(Quantize, DecodedValuesAreRepresentable) {
  const auto x = RandomFloats(16 * 256, 8);
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ6_K, DType::kQ4_K}) {
    const auto once = RoundTrip(type, x), twice = RoundTrip(type, once);
    double change = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      change += std::pow(twice[i] - once[i], 2);
      size += std::pow(once[i] - x[i], 2);
    }
    EXPECT_LT(change, 0.05 * size) << NameOf(type);
  }
}

TEST(Quantize, ImportanceMovesTheErrorElsewhere) {
  const auto x = RandomFloats(64 * 256, 9);
  std::vector<float> importance(256, 1.0f);
  for (size_t i = 0; i < 256; i += 4) importance[i] = 50;
  for (const DType type : kBlockTypes) {
    if (type == DType::kQ8_0) continue;  // plain rounding
    const auto error = [&](const std::vector<float>& back) {
      double sum = 0;
      for (size_t i = 0; i < x.size(); i += 4) sum += std::pow(back[i] - x[i], 2);
      return sum;
    };
    // MXFP4's scale is a power of two: importance chooses between two neighbours, no more.
    const double most = type == DType::kMXFP4 ? 0.99 : 0.97;
    EXPECT_LT(error(RoundTrip(type, x, importance)), most * error(RoundTrip(type, x)))
        << NameOf(type);
  }
}

// What a block's search minimises is the sum of importance * (deviation + |x|) * error^2. Of MXFP4,
// whose few exponents are all tried, no block is worse by it than without importance.
TEST(Quantize, ImportanceMakesNoMxfp4BlockWorse) {
  const auto x = RandomFloats(64 * 256, 10);
  std::vector<float> importance(256);
  for (size_t i = 0; i < 256; ++i) importance[i] = static_cast<float>(1 + i * 7 % 32);
  const auto with = RoundTrip(DType::kMXFP4, x, importance), without = RoundTrip(DType::kMXFP4, x);
  int better = 0;
  for (size_t at = 0; at < x.size(); at += 32) {
    double squares = 0, a = 0, b = 0;
    for (size_t i = at; i < at + 32; ++i) squares += x[i] * x[i];
    const double deviation = std::sqrt(squares / 32);
    for (size_t i = at; i < at + 32; ++i) {
      const double weight = importance[i % 256] * (deviation + std::fabs(x[i]));
      a += weight * std::pow(with[i] - x[i], 2);
      b += weight * std::pow(without[i] - x[i], 2);
    }
    EXPECT_LE(a, b * 1.00001) << at;
    if (a < b * 0.99999) ++better;
  }
  EXPECT_GT(better, 0);
}

TEST(Quantize, ExtremesGiveFiniteBlocks) {
  const float inf = std::numeric_limits<float>::infinity();
  for (float value : {0.0f, 1.0f, -1.0f, 1e-30f, -1e-38f, 1000.0f, inf, -inf, std::nanf("")}) {
    for (const DType type : kBlockTypes) {
      SCOPED_TRACE(std::string(NameOf(type)) + " " + std::to_string(value));
      const std::vector<float> x(256, value), zeros(256, 0.0f);
      for (const auto& back : {RoundTrip(type, x), RoundTrip(type, x, zeros)}) {
        const float wanted = std::isfinite(value) ? value : 0.0f;
        // A power of two times the grid's values: MXFP4 cannot hold 1000 (1024 it can).
        const float share = type == DType::kMXFP4 ? 0.03f : 0.02f;
        for (float y : back) ASSERT_NEAR(y, wanted, std::fabs(wanted) * share + 1e-7);
      }
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
