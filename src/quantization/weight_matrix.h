// WeightMatrix: the weights of one linear layer, in whatever block format the file has, repacked
// once at load.
//
// Layout R16 (kernels.md): sixteen output rows interleaved, so that a SIMD lane is a row and no
// horizontal sums are needed. The last panel is padded with zero rows, which are computed and
// dropped.
//
// Invariant (bit-exactness): element (m, n) of a product depends only on activation row m and
// weight row n. Its order of summation is fixed by the weight's type alone, never by M, by tile
// shape, by thread count; for the integer formats it is also the same bits for every Isa, the
// scalar kernel being the definition (see matmul.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "quantization/page_buffer.h"

namespace millrace {

inline constexpr int64_t kPanelRows = 16;

class WeightMatrix {
 public:
  // Types that Pack takes: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL,
  // IQ4_XS and MXFP4.
  static std::span<const DType> SupportedTypes();

  // `source` holds rows x columns elements of `type` in GGUF order (row by row; `columns` is K, the
  // contiguous one). An unsupported type is an error that names it and the supported ones.
  // `columns` must be a multiple of the type's block and `source` of the right size (checked by the
  // GGUF reader; CHECKed here).
  static Result<WeightMatrix> Pack(DType type, int64_t rows, int64_t columns,
                                   std::span<const std::byte> source, ThreadPool& pool);
  WeightMatrix() = default;

  DType type() const { return type_; }
  int64_t rows() const { return rows_; }        // N: outputs
  int64_t columns() const { return columns_; }  // K: inputs
  int64_t panels() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  int64_t panel_bytes() const { return panel_bytes_; }
  const std::byte* panel(int64_t p) const { return packed_.data() + p * panel_bytes_; }
  size_t bytes() const { return packed_.size(); }

  // Writes row `row` as floats: out has columns() elements. The embedding lookup.
  void DequantizeRow(int64_t row, std::span<float> out) const;

 private:
  DType type_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  int64_t panel_bytes_ = 0;
  PageBuffer packed_;
};

}  // namespace millrace
