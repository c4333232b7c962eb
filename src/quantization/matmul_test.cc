// The products of every Isa: against double precision, and bit for bit against the scalar kernels,
// whose order of summation is the definition.
#include "quantization/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "quantization/test_support.h"

namespace millrace {
namespace {

bool IsFloat(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

WeightMatrix Pack(DType type, int64_t rows, int64_t columns, std::span<const std::byte> source) {
  ThreadPool pool(1);
  auto packed = WeightMatrix::Pack(type, rows, columns, source, pool);
  CHECK(packed.ok());
  return std::move(*packed);
}

std::vector<float> Multiply(Isa isa, const WeightMatrix& w, const std::vector<float>& x, int64_t m,
                            int threads = 1) {
  ThreadPool pool(threads);
  const MatMulKernels& kernels = MatMulKernelsFor(isa);
  Activations activations;
  activations.Assign(kernels, pool, {x.data(), m, w.columns(), w.columns()});
  std::vector<float> y(static_cast<size_t>(m * w.rows()), -1.0f);
  MatMul(kernels, pool, w, activations, {y.data(), m, w.rows(), w.rows()});
  return y;
}

class MatMulOfType : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, MatMulOfType, testing::ValuesIn(WeightMatrix::SupportedTypes()),
                         [](const auto& p) { return std::string(NameOf(p.param)); });

// |y - exact| <= (activation step + float rounding) * |x| * |w|: the activations' step is half of
// max|x| / 127 per element, at most sqrt(K) / 254 of the row's norm in the 2-norm (Cauchy-Schwarz),
// but random signs keep it near 1 / 254 * max / rms; 0.02 leaves room. Floats: K * 2^-24.
TEST_P(MatMulOfType, MatchesDoublePrecision) {
  const int64_t n = 40, k = 768, m = 11;
  const auto w = Pack(GetParam(), n, k, RandomWeights(GetParam(), n, k, 1));
  const auto x = RandomFloats(m * k, 2);
  std::vector<float> row(static_cast<size_t>(k));
  const double tolerance = IsFloat(GetParam()) ? static_cast<double>(k) * 0x1p-24 : 0.02;
  for (Isa isa : SupportedIsas()) {
    SCOPED_TRACE(NameOf(isa));
    const auto y = Multiply(isa, w, x, m);
    for (int64_t r = 0; r < n; ++r) {
      w.DequantizeRow(r, row);
      for (int64_t i = 0; i < m; ++i) {
        double exact = 0, norm_w = 0, norm_x = 0;
        for (int64_t c = 0; c < k; ++c) {
          const double a = x[static_cast<size_t>(i * k + c)], b = row[static_cast<size_t>(c)];
          exact += a * b;
          norm_w += b * b;
          norm_x += a * a;
        }
        ASSERT_NEAR(y[static_cast<size_t>(i * n + r)], exact,
                    tolerance * std::sqrt(norm_w * norm_x))
            << "row " << r << " of activation row " << i;
      }
    }
  }
}

}  // namespace
}  // namespace millrace
