// Bit-exactness of the products: every Isa against the scalar twin, every M, N and K tail, every
// thread count.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quantization/matmul.h"
#include "quantization/test_support.h"

namespace millrace {
namespace {

bool IsFloatType(DType type) { return InfoOf(type).block_elements == 1; }

std::vector<std::byte> Weights(DType type, int64_t rows, int64_t columns, uint64_t seed) {
  return IsFloatType(type) ? RandomWeights(type, rows, columns, seed)
                           : RandomBlocks(type, rows, columns, seed);
}

WeightMatrix Pack(DType type, int64_t rows, int64_t columns, uint64_t seed) {
  ThreadPool pool(1);
  const auto source = Weights(type, rows, columns, seed);
  auto packed = WeightMatrix::Pack(type, rows, columns, source, pool);
  CHECK(packed.ok());
  return std::move(*packed);
}

std::vector<float> Multiply(Isa isa, ThreadPool& pool, const WeightMatrix& w, const float* x,
                            int64_t m) {
  const MatMulKernels& kernels = MatMulKernelsFor(isa);
  Activations activations;
  activations.Assign(kernels, pool, {x, m, w.columns(), w.columns()});
  std::vector<float> y(static_cast<size_t>(m * w.rows()), -1.0f);
  MatMul(kernels, pool, w, activations, {y.data(), m, w.rows(), w.rows()});
  return y;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class ExactMatMul : public testing::TestWithParam<DType> {
 protected:
  DType type() const { return GetParam(); }
  ThreadPool one_{1};
};
INSTANTIATE_TEST_SUITE_P(All, ExactMatMul, testing::ValuesIn(WeightMatrix::SupportedTypes()),
                         [](const auto& p) { return std::string(NameOf(p.param)); });

// Each row's result is that of the row alone, for all M, on every Isa, and that is the scalar
// twin's.
TEST_P(ExactMatMul, EveryMGivesTheBitsOfOneRow) {
  // Five panels: three that a kernel may take together and two by themselves.
  const int64_t n = 80, k = 512, most = 70;
  const auto w = Pack(type(), n, k, 1);
  const auto x = RandomFloats(most * k, 2);
  const auto expected = Multiply(Isa::kScalar, one_, w, x.data(), most);
  for (Isa isa : SupportedIsas()) {
    for (int64_t m = 1; m <= most; ++m) {
      const auto y = Multiply(isa, one_, w, x.data(), m);
      ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0)
          << NameOf(isa) << " with M = " << m;
    }
  }
}

TEST_P(ExactMatMul, EveryTailOfN) {
  const int64_t k = 256, m = 9;
  const auto x = RandomFloats(m * k, 3);
  for (int64_t n = 1; n <= 33; ++n) {
    const auto w = Pack(type(), n, k, static_cast<uint64_t>(n));
    const auto expected = Multiply(Isa::kScalar, one_, w, x.data(), m);
    for (Isa isa : SupportedIsas()) {
      ASSERT_TRUE(SameBits(Multiply(isa, one_, w, x.data(), m), expected))
          << NameOf(isa) << " with N = " << n;
      ASSERT_TRUE(SameBits(Multiply(isa, one_, w, x.data(), 1),
                           std::vector<float>(expected.begin(), expected.begin() + n)))
          << NameOf(isa) << " with N = " << n << " and M = 1";
    }
  }
}

std::vector<int64_t> TailsOfK(DType type) {
  std::vector<int64_t> ks;
  const int64_t block = InfoOf(type).block_elements;
  if (block == 1) return {1, 2, 3, 15, 16, 17, 31, 64, 255, 256, 257, 300, 511, 513};
  for (int64_t k = block; k <= 512; k += block) ks.push_back(k);
  for (int64_t k : {768, 1024, 2816, 5632}) ks.push_back(k);
  if (block == 32) ks.push_back(1184);
  return ks;
}

TEST_P(ExactMatMul, EveryTailOfK) {
  const int64_t n = 17;
  for (int64_t k : TailsOfK(type())) {
    const auto w = Pack(type(), n, k, static_cast<uint64_t>(k));
    for (int64_t m : {1, 3, 8, 13}) {
      const auto x = RandomFloats(m * k, static_cast<uint64_t>(k + m));
      const auto expected = Multiply(Isa::kScalar, one_, w, x.data(), m);
      for (Isa isa : SupportedIsas()) {
        ASSERT_TRUE(SameBits(Multiply(isa, one_, w, x.data(), m), expected))
            << NameOf(isa) << " with K = " << k << " and M = " << m;
      }
    }
  }
}

TEST_P(ExactMatMul, ThreadsDoNotMatter) {
  const int64_t n = 1000, k = 512;
  const auto w = Pack(type(), n, k, 5);
  for (int64_t m : {1, 5, 300}) {
    const auto x = RandomFloats(m * k, 6);
    const Isa isa = DetectIsa();
    const auto expected = Multiply(isa, one_, w, x.data(), m);
    for (int threads : {2, 3}) {
      ThreadPool pool(threads);
      ASSERT_TRUE(SameBits(Multiply(isa, pool, w, x.data(), m), expected)) << threads;
    }
  }
}

// More rows than one sweep holds: the rows on both sides of a sweep's border are those of the row
// alone.
TEST_P(ExactMatMul, SweepsDoNotMatter) {
  const int64_t n = 16, k = 8192, m = 600;
  const auto w = Pack(type(), n, k, 7);
  const auto x = RandomFloats(m * k, 8);
  const Isa isa = DetectIsa();
  const auto y = Multiply(isa, one_, w, x.data(), m);
  for (int64_t row : {0, 63, 64, 65, 255, 256, 257, 511, 512, 599}) {
    const auto alone = Multiply(isa, one_, w, x.data() + row * k, 1);
    ASSERT_EQ(std::memcmp(alone.data(), y.data() + row * n, sizeof(float) * n), 0) << row;
  }
}

// Weights left in place, and panels that another matrix packed.
TEST_P(ExactMatMul, WhereTheWeightsLieDoesNotMatter) {
  const int64_t n = 37, k = 512;
  const auto source = Weights(type(), n, k, 16);
  const auto packed = WeightMatrix::Pack(type(), n, k, source, one_);
  const auto in_place = WeightMatrix::InPlace(type(), n, k, source);
  ASSERT_TRUE(packed.ok() && in_place.ok());
  const auto view = WeightMatrix::FromPanels(type(), n, k, packed->packed_bytes());
  ASSERT_TRUE(view.ok());
  ThreadPool pool(2);
  for (int64_t m : {1, 9, 300}) {
    const auto x = RandomFloats(m * k, 17);
    const auto expected = Multiply(DetectIsa(), pool, *packed, x.data(), m);
    EXPECT_TRUE(SameBits(Multiply(DetectIsa(), pool, *in_place, x.data(), m), expected)) << m;
    EXPECT_TRUE(SameBits(Multiply(DetectIsa(), pool, *view, x.data(), m), expected)) << m;
  }
  std::vector<float> a(static_cast<size_t>(k)), b(static_cast<size_t>(k));
  for (int64_t row : {0, 15, 16, 36}) {
    packed->DequantizeRow(row, a);
    in_place->DequantizeRow(row, b);
    EXPECT_TRUE(SameBits(a, b)) << row;
  }
  EXPECT_FALSE(WeightMatrix::FromPanels(type(), n + 16, k, packed->packed_bytes()).ok());
}

TEST_P(ExactMatMul, OnlyTheGivenPanelsAndColumnsAreWritten) {
  const int64_t n = 40, k = 256, m = 10, stride = 43;
  const auto w = Pack(type(), n, k, 9);
  const auto x = RandomFloats(m * k, 10);
  for (Isa isa : SupportedIsas()) {
    const MatMulKernels& kernels = MatMulKernelsFor(isa);
    const auto expected = Multiply(isa, one_, w, x.data(), m);
    Activations activations;
    activations.Assign(kernels, one_, {x.data(), m, k, k});
    std::vector<float> y(static_cast<size_t>(m * stride), -7.0f);
    MatMulPanels(kernels, w, activations, {y.data(), m, n, stride}, 1, 3);
    for (int64_t i = 0; i < m * stride; ++i) {
      const int64_t row = i / stride, column = i % stride;
      const float wanted =
          column >= 16 && column < n ? expected[static_cast<size_t>(row * n + column)] : -7.0f;
      ASSERT_EQ(y[static_cast<size_t>(i)], wanted) << row << " " << column;
    }
  }
}

// Every block of one byte pattern, so that the extreme codes of every format stand side by side,
// against activations that are all at the end of their range: nothing may saturate on the way.
TEST_P(ExactMatMul, ExtremeCodesDoNotSaturate) {
  if (IsFloatType(type())) GTEST_SKIP() << "integer formats only";
  const int64_t n = 16, k = 512, m = 3;
  const size_t block_bytes = static_cast<size_t>(InfoOf(type()).block_bytes);
  std::vector<float> x(static_cast<size_t>(m * k), 1.0f);
  for (int64_t i = 0; i < k; ++i) {
    x[static_cast<size_t>(k + i)] = -1.0f;
    x[static_cast<size_t>(2 * k + i)] = i % 2 == 0 ? 1.0f : -1.0f;
  }
  for (int pattern : {0x00, 0xff, 0x0f, 0xf0, 0x77, 0x88, 0x80, 0x7f}) {
    const auto random = RandomBlocks(type(), n, k, 13);
    auto source = random;
    for (size_t i = 0; i < source.size(); ++i) {
      // The first and last four bytes keep the scales that are floats.
      const size_t at = i % block_bytes;
      if (at >= 4 && at < block_bytes - 4) source[i] = static_cast<std::byte>(pattern);
    }
    auto w = WeightMatrix::Pack(type(), n, k, source, one_);
    ASSERT_TRUE(w.ok());
    const auto expected = Multiply(Isa::kScalar, one_, *w, x.data(), m);
    for (Isa isa : SupportedIsas()) {
      ASSERT_TRUE(SameBits(Multiply(isa, one_, *w, x.data(), m), expected))
          << NameOf(isa) << " with bytes " << pattern;
    }
  }
}

// Every exponent of MXFP4, the denormal scales among them.
TEST(Mxfp4Exponents, AllAgree) {
  ThreadPool one(1);
  const int64_t n = 16, k = 512;
  auto source = RandomBlocks(DType::kMXFP4, n, k, 14);
  for (size_t i = 0; i < source.size() / 17; ++i) source[17 * i] = static_cast<std::byte>(i & 255);
  const auto w = WeightMatrix::Pack(DType::kMXFP4, n, k, source, one);
  ASSERT_TRUE(w.ok());
  const auto x = RandomFloats(k, 15);
  const auto expected = Multiply(Isa::kScalar, one, *w, x.data(), 1);
  EXPECT_TRUE(std::any_of(expected.begin(), expected.end(),
                          [](float y) { return std::isfinite(y) && y != 0.0f; }));
  for (Isa isa : SupportedIsas()) {
    const auto y = Multiply(isa, one, *w, x.data(), 1);
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_TRUE(y[i] == expected[i] || (std::isnan(y[i]) && std::isnan(expected[i])))
          << NameOf(isa) << " row " << i;
    }
  }
}

// A group with an infinity or NaN poisons its own row alone; extremes of magnitude do no harm.
TEST_P(ExactMatMul, NonFiniteActivationsStayInTheirRow) {
  const int64_t n = 20, k = 512, m = 12;
  const auto w = Pack(type(), n, k, 11);
  auto x = RandomFloats(m * k, 12);
  const auto clean = Multiply(Isa::kScalar, one_, w, x.data(), m);
  x[1 * k + 3] = std::numeric_limits<float>::infinity();
  x[2 * k + 300] = std::numeric_limits<float>::quiet_NaN();
  x[3 * k + 511] = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < k; ++i) {
    x[static_cast<size_t>(4 * k + i)] = 0.0f;
    x[static_cast<size_t>(5 * k + i)] = std::numeric_limits<float>::denorm_min();
    x[static_cast<size_t>(6 * k + i)] = 3e38f * (i % 2 == 0 ? 1.0f : -1.0f);
  }
  const auto expected = Multiply(Isa::kScalar, one_, w, x.data(), m);
  for (Isa isa : SupportedIsas()) {
    SCOPED_TRACE(NameOf(isa));
    const auto y = Multiply(isa, one_, w, x.data(), m);
    for (int64_t i = 0; i < m * n; ++i) {
      const int64_t row = i / n;
      const size_t at = static_cast<size_t>(i);
      if (row >= 1 && row <= 3) {
        EXPECT_FALSE(std::isfinite(y[at])) << row;
        if (!IsFloatType(type())) {
          EXPECT_TRUE(std::isnan(y[at])) << row;
        }
      } else if (row == 4) {
        EXPECT_EQ(y[at], 0.0f);
      } else if (row == 6) {
        EXPECT_TRUE(y[at] == expected[at] || (std::isnan(y[at]) && std::isnan(expected[at])));
      } else {
        EXPECT_EQ(y[at], row == 5 ? expected[at] : clean[at]) << row;
      }
    }
  }
}

// Random rows plus rows made of the tricky cases: exact halves, the largest value at the end,
// tails.
TEST(QuantizeActivations, EveryIsaGivesTheScalarBits) {
  ThreadPool pool(1);
  for (int64_t k : {32, 96, 256, 288, 1024, 1000}) {
    const int64_t m = 9;
    auto x = RandomFloats(m * k, static_cast<uint64_t>(k));
    for (int64_t i = 0; i < k; ++i) {
      x[static_cast<size_t>(k + i)] = static_cast<float>(i % 255 - 127) + 0.5f;
      x[static_cast<size_t>(2 * k + i)] = i == k - 1 ? 127.0f : static_cast<float>(i % 64) * 0.5f;
    }
    Activations expected;
    expected.Assign(MatMulKernelsFor(Isa::kScalar), pool, {x.data(), m, k, k});
    for (Isa isa : SupportedIsas()) {
      Activations got;
      got.Assign(MatMulKernelsFor(isa), pool, {x.data(), m, k, k});
      const int64_t padded = got.padded_columns();
      ASSERT_EQ(padded % 256, 0);
      for (const auto form : {&Activations::blocks, &Activations::groups}) {
        SCOPED_TRACE(std::string(NameOf(isa)) + " group " + std::to_string((got.*form)().group));
        const Activations::Form &a = (got.*form)(), &b = (expected.*form)();
        const auto bytes = static_cast<size_t>(m * padded);
        EXPECT_EQ(std::memcmp(a.values.data(), b.values.data(), bytes), 0);
        EXPECT_EQ(std::memcmp(a.sums.data(), b.sums.data(), bytes / 8), 0);
        EXPECT_EQ(
            std::memcmp(a.scales.data(), b.scales.data(), bytes / static_cast<size_t>(a.group) * 4),
            0);
        for (int64_t r = 0; r < m; ++r) {
          const int8_t* values = a.values.data() + r * padded;
          EXPECT_TRUE(std::all_of(values, values + padded, [](int8_t v) { return v >= -127; }));
          EXPECT_TRUE(std::all_of(values + k, values + padded, [](int8_t v) { return v == 0; }));
        }
      }
    }
  }
}

// One outlier spoils what shares its scale: the 31 elements of its block for weights in blocks of
// 32, all 255 of its group for the others. What is off is its rounding, half a step at most.
TEST(QuantizeActivations, AnOutlierSpoilsItsOwnBlockOnly) {
  ThreadPool pool(1);
  const int64_t k = 256;
  auto x = RandomFloats(k, 18);
  x[40] = 1000;
  Activations activations;
  activations.Assign(MatMulKernelsFor(DetectIsa()), pool, {x.data(), 1, k, k});
  const auto worst = [&](const Activations::Form& form) {
    float off = 0;
    for (int64_t i = 0; i < k; ++i) {
      if (i / 32 == 1) continue;  // the outlier's own
      const float is = form.scales.data()[i / form.group] * form.values.data()[i];
      off = std::max(off, std::fabs(is - x[static_cast<size_t>(i)]));
    }
    return off;
  };
  EXPECT_LT(worst(activations.blocks()), 3.5f / 254 * 1.01f);
  EXPECT_GT(worst(activations.groups()), 1.0f);
}

// What products with weights of a type need; the others' form is left out, and asking for it is a
// broken invariant.
TEST(ActivationForms, AreThoseOfTheWeightsBlocks) {
  for (const DType type : WeightMatrix::SupportedTypes()) {
    const ActivationForms forms = ActivationForms::For(type);
    EXPECT_EQ(forms.blocks, InfoOf(type).block_elements == 32) << NameOf(type);
    EXPECT_EQ(forms.groups, InfoOf(type).block_elements == 256) << NameOf(type);
    ThreadPool pool(1);
    const auto w = Pack(type, 20, 512, 19);
    const auto x = RandomFloats(3 * 512, 20);
    const MatMulKernels& kernels = MatMulKernelsFor(DetectIsa());
    Activations only;
    only.Assign(kernels, pool, {x.data(), 3, 512, 512}, forms);
    std::vector<float> y(60);
    MatMul(kernels, pool, w, only, {y.data(), 3, 20, 20});
    EXPECT_TRUE(SameBits(y, Multiply(DetectIsa(), pool, w, x.data(), 3))) << NameOf(type);
  }
}

}  // namespace
}  // namespace millrace
