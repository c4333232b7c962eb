#include "nn_ops/nn_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"

namespace millrace {
namespace {

constexpr double kUnit = 0x1p-24;  // the relative error of one f32 rounding
const int64_t kSizes[] = {1, 2, 15, 16, 17, 63, 64, 65, 100, 576, 2048};

std::vector<float> Random(uint64_t seed, int64_t count, double scale) {
  std::vector<float> x(static_cast<size_t>(count));
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(scale * (2 * CounterRng(seed, i).NextDouble() - 1));
  }
  return x;
}

void ExpectNear(const std::vector<float>& got, const std::function<double(size_t)>& expected,
                const std::function<double(size_t)>& tolerance) {
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::abs(got[i] - expected(i)), tolerance(i))
        << "element " << i << " of " << got.size() << ": " << got[i] << ", not " << expected(i);
  }
}

class NnOpsTest : public testing::TestWithParam<Isa> {
 protected:
  const NnKernels& kernels_ = NnKernelsFor(GetParam());
};
INSTANTIATE_TEST_SUITE_P(AllIsas, NnOpsTest, testing::ValuesIn(SupportedIsas()),
                         [](const auto& test) { return std::string(NameOf(test.param)); });

TEST_P(NnOpsTest, RmsNorm) {
  for (int64_t n : kSizes) {
    std::vector<float> x = Random(1, n, 3);
    const std::vector<float> input = x, weight = Random(2, n, 1);
    double sum = 0;
    for (float v : input) sum += double{v} * v;
    const double factor = 1 / std::sqrt(sum / static_cast<double>(n) + 1e-5);
    kernels_.rms_norm(x.data(), weight.data(), 1e-5f, n, x.data());
    const auto expected = [&](size_t i) { return input[i] * factor * weight[i]; };
    // n/64 + 10 roundings of the sum count half, under the root; five more after it.
    ExpectNear(x, expected, [&](size_t i) {
      return (static_cast<double>(n) / 128 + 10) * kUnit * std::abs(expected(i));
    });
  }
}

TEST_P(NnOpsTest, SiluMultiply) {
  for (double scale : {1.0, 20.0, 120.0}) {
    for (int64_t n : kSizes) {
      const std::vector<float> gate = Random(3, n, scale), up = Random(4, n, 2);
      std::vector<float> out(gate.size());
      kernels_.silu_multiply(gate.data(), up.data(), n, out.data());
      const auto expected = [&](size_t i) {
        return gate[i] / (1 + std::exp(-double{gate[i]})) * up[i];
      };
      // Below -87 the exponential stops at e^88, so the result is under 1e-36 rather than 0.
      ExpectNear(out, expected,
                 [&](size_t i) { return 8 * kUnit * std::abs(expected(i)) + 1e-35; });
    }
  }
}

// To 11 significant bits, as GELU rounds its argument (docs/decisions/gelu-half-precision.md).
double HalfPrecision(double x) {
  int exponent;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 11)), exponent - 11);
}

TEST_P(NnOpsTest, GeluMultiply) {
  for (double scale : {1.0, 10.0, 60.0}) {
    for (int64_t n : kSizes) {
      const std::vector<float> gate = Random(5, n, scale), up = Random(6, n, 2);
      std::vector<float> out = gate;
      kernels_.gelu_multiply(out.data(), up.data(), n, out.data());
      const auto expected = [&](size_t i) {
        const double x = HalfPrecision(gate[i]);
        const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        return x / (1 + std::exp(-2 * u)) * up[i];
      };
      // An exponent of size |2u| <= 88 carries four roundings, which its exponential multiplies;
      // the value is rounded to half precision.
      ExpectNear(out, expected, [&](size_t i) {
        const double x = std::abs(gate[i]);
        const double exponent = std::min(88.0, 1.6 * (x + 0.045 * x * x * x));
        return (0x1p-11 + (8 + 5 * exponent) * kUnit) * std::abs(expected(i)) + 1e-35;
      });
    }
  }
}

TEST_P(NnOpsTest, LayerNorm) {
  for (double shift : {0.0, 100.0}) {
    for (int64_t n : kSizes) {
      std::vector<float> x = Random(16, n, 3);
      for (float& v : x) v += static_cast<float>(shift);
      const std::vector<float> input = x, weight = Random(17, n, 1), bias = Random(18, n, 1);
      const auto count = static_cast<double>(n);
      double mean = 0, variance = 0;
      for (float v : input) mean += v / count;
      for (float v : input) variance += (v - mean) * (v - mean) / count;
      const double factor = 1 / std::sqrt(variance + 1e-5);
      kernels_.layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, n, x.data());
      // The mean of numbers up to size M = shift + 3 is off by (n/64 + 10) units of M, which the
      // factor multiplies; the variance is as accurate as an RMS, but for the mean's square.
      const double mean_error = (count / 64 + 10) * kUnit * (shift + 3);
      ExpectNear(
          x, [&](size_t i) { return (input[i] - mean) * factor * weight[i] + bias[i]; },
          [&](size_t i) {
            const double scaled = std::abs((input[i] - mean) * factor);
            return (2 * mean_error * factor * (1 + mean_error * factor * scaled) +
                    (count / 128 + 16) * kUnit * (scaled + 1)) +
                   2 * kUnit * std::abs(bias[i]);
          });
    }
  }
}

TEST_P(NnOpsTest, GeluByTheErrorFunction) {
  for (double scale : {0.01, 1.0, 5.0, 12.0, 200.0}) {
    for (int64_t n : kSizes) {
      const std::vector<float> input = Random(19, n, scale);
      std::vector<float> x = input;
      kernels_.gelu_erf(x.data(), n);
      const auto expected = [&](size_t i) {
        return 0.5 * input[i] * std::erfc(-input[i] / std::sqrt(2.0));
      };
      // The fit is right to 1.2e-7, two units; its polynomial and the exponent, of size up to 88,
      // carry three roundings each, which the exponential multiplies. Past 88 the tail is 0.
      ExpectNear(x, expected, [&](size_t i) {
        const double exponent = std::min(88.0, double{input[i]} * input[i] / 2 + 5);
        return (12 + 3 * exponent) * kUnit * std::abs(expected(i)) + 1e-35;
      });
    }
  }
  std::vector<float> special = {0.0f, -0.0f, NAN, -300.0f, 300.0f};
  kernels_.gelu_erf(special.data(), 5);
  EXPECT_EQ(special[0], 0.0f);
  EXPECT_EQ(special[1], 0.0f);
  EXPECT_TRUE(std::isnan(special[2]));
  EXPECT_EQ(special[3], 0.0f);
  EXPECT_EQ(special[4], 300.0f);
}

TEST_P(NnOpsTest, AddAndScaleRoundOnce) {
  for (int64_t n : kSizes) {
    std::vector<float> x = Random(7, n, 1);
    const std::vector<float> input = x, y = Random(8, n, 1);
    kernels_.add(x.data(), y.data(), n);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], input[i] + y[i]);
    x = input;
    kernels_.scale(x.data(), 1.7f, n);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], input[i] * 1.7f);
  }
}

TEST_P(NnOpsTest, Softmax) {
  for (double scale : {1.0, 50.0}) {
    for (int64_t n : kSizes) {
      std::vector<float> x = Random(9, n, scale);
      const std::vector<float> input = x;
      const double max = *std::max_element(input.begin(), input.end());
      double sum = 0;
      for (float v : input) sum += std::exp(v - max);
      kernels_.softmax(x.data(), n);
      const auto expected = [&](size_t i) { return std::exp(input[i] - max) / sum; };
      // The difference from the maximum is rounded: up to 2 * scale units.
      ExpectNear(x, expected, [&](size_t i) {
        return (static_cast<double>(n) / 16 + 12 + 2 * scale) * kUnit * expected(i) + 1e-37;
      });
    }
  }
  std::vector<float> masked = {0.0f, -INFINITY, 0.0f};
  kernels_.softmax(masked.data(), 3);
  EXPECT_EQ(masked, (std::vector<float>{0.5f, 0.0f, 0.5f}));
}

TEST_P(NnOpsTest, RopeTurnsPairs) {
  for (int64_t half : {1, 7, 8, 16, 20, 32, 64}) {
    const std::vector<float> input = Random(10, 2 * half, 1), angle = Random(11, half, 3);
    std::vector<float> cos, sin;
    for (float a : angle) {
      cos.push_back(std::cos(a));
      sin.push_back(std::sin(a));
    }
    std::vector<float> adjacent = input, halves = input;
    kernels_.rope_adjacent(adjacent.data(), cos.data(), sin.data(), half);
    kernels_.rope_halves(halves.data(), cos.data(), sin.data(), half);
    for (size_t i = 0; i < static_cast<size_t>(half); ++i) {
      const auto check = [&](const std::vector<float>& out, size_t first, size_t second) {
        const double a = input[first], b = input[second];
        EXPECT_NEAR(out[first], a * cos[i] - b * sin[i], 4 * kUnit);
        EXPECT_NEAR(out[second], a * sin[i] + b * cos[i], 4 * kUnit);
      };
      check(adjacent, 2 * i, 2 * i + 1);
      check(halves, i, i + static_cast<size_t>(half));
    }
  }
}

// Every kernel, on the same input, for one instruction set.
std::vector<float> EveryKernel(const NnKernels& kernels, int64_t n) {
  const std::vector<float> x = Random(12, n, 90), y = Random(13, n, 3);
  std::vector<float> all;
  const auto keep = [&](const std::function<void(std::vector<float>&)>& run) {
    std::vector<float> out = x;
    run(out);
    all.insert(all.end(), out.begin(), out.end());
  };
  keep([&](auto& out) { kernels.rms_norm(out.data(), y.data(), 1e-6f, n, out.data()); });
  keep([&](auto& out) { kernels.silu_multiply(out.data(), y.data(), n, out.data()); });
  keep([&](auto& out) { kernels.gelu_multiply(out.data(), y.data(), n, out.data()); });
  keep(
      [&](auto& out) { kernels.layer_norm(out.data(), y.data(), x.data(), 1e-6f, n, out.data()); });
  keep([&](auto& out) { kernels.gelu_erf(out.data(), n); });
  keep([&](auto& out) { kernels.add(out.data(), y.data(), n); });
  keep([&](auto& out) { kernels.scale(out.data(), 0.3f, n); });
  keep([&](auto& out) { kernels.softmax(out.data(), n); });
  keep([&](auto& out) { kernels.rope_adjacent(out.data(), y.data(), y.data() + n / 2, n / 2); });
  keep([&](auto& out) { kernels.rope_halves(out.data(), y.data(), y.data() + n / 2, n / 2); });
  return all;
}

TEST_P(NnOpsTest, AgreesBitForBitWithThePortableKernels) {
  for (int64_t n : kSizes) {
    const std::vector<float> portable = EveryKernel(NnKernelsFor(Isa::kScalar), n);
    const std::vector<float> here = EveryKernel(kernels_, n);
    ASSERT_EQ(std::memcmp(here.data(), portable.data(), here.size() * sizeof(float)), 0) << n;
  }
}

// An element must not feel whether it stands in a whole vector or in the rest.
TEST_P(NnOpsTest, TailsAgreeWithBodies) {
  const std::vector<float> gate = Random(14, 64, 8), up = Random(15, 64, 2);
  for (auto kernel : {kernels_.silu_multiply, kernels_.gelu_multiply}) {
    std::vector<float> whole(64);
    kernel(gate.data(), up.data(), 64, whole.data());
    for (int64_t n = 1; n < 64; ++n) {
      std::vector<float> part(64, -1.0f);
      kernel(gate.data(), up.data(), n, part.data());
      ASSERT_EQ(std::memcmp(part.data(), whole.data(), static_cast<size_t>(n) * 4), 0) << n;
      for (size_t i = static_cast<size_t>(n); i < 64; ++i) ASSERT_EQ(part[i], -1.0f);
    }
  }
}

TEST_P(NnOpsTest, NanIsNotHidden) {
  std::vector<float> x = {1.0f, NAN, 2.0f};
  const std::vector<float> one(3, 1.0f);
  std::vector<float> out(3);
  kernels_.silu_multiply(x.data(), one.data(), 3, out.data());
  EXPECT_TRUE(std::isnan(out[1]));
  EXPECT_FALSE(std::isnan(out[0]));
  kernels_.rms_norm(x.data(), one.data(), 1e-5f, 3, out.data());
  EXPECT_TRUE(std::isnan(out[0]));
}

}  // namespace
}  // namespace millrace
