// WeightMatrix: the weights of one linear layer, in whatever block format the file has: repacked
// once at load, or packed earlier and mapped from a side file, or left in place and packed panel by
// panel at each use (slow, but no memory of its own).
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
#include <functional>
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
  // `done`, where given, is told each part of `source` that was read and is not needed any more,
  // from the pool's threads.
  using Release = std::function<void(std::span<const std::byte>)>;
  static Result<WeightMatrix> Pack(DType type, int64_t rows, int64_t columns,
                                   std::span<const std::byte> source, ThreadPool& pool,
                                   const Release& done = {});
  // The same errors and demands; `source` must outlive the matrix, and is read at every use.
  static Result<WeightMatrix> InPlace(DType type, int64_t rows, int64_t columns,
                                      std::span<const std::byte> source);
  // Panels that a WeightMatrix of the same type and shape held; they must outlive this one and
  // begin on a 64-byte border. Another size than that type and shape give is an error.
  static Result<WeightMatrix> FromPanels(DType type, int64_t rows, int64_t columns,
                                         std::span<const std::byte> panels);
  WeightMatrix() = default;

  DType type() const { return type_; }
  int64_t rows() const { return rows_; }        // N: outputs
  int64_t columns() const { return columns_; }  // K: inputs
  int64_t panels() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  int64_t panel_bytes() const { return panel_bytes_; }
  bool in_place() const { return in_place_; }
  // Only where the matrix is not in place.
  const std::byte* panel(int64_t p) const { return bytes_.data() + p * panel_bytes_; }
  // All panels, for FromPanels; empty in place.
  std::span<const std::byte> packed_bytes() const;
  // Only in place: packs panel p into `out`, panel_bytes() zeroed bytes or an earlier panel of this
  // matrix.
  void PackPanelTo(int64_t p, std::byte* out) const;
  size_t bytes() const { return bytes_.size(); }

  // Writes row `row` as floats: out has columns() elements. The embedding lookup.
  void DequantizeRow(int64_t row, std::span<float> out) const;

 private:
  static Result<WeightMatrix> Shape(DType type, int64_t rows, int64_t columns);

  DType type_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  int64_t panel_bytes_ = 0;
  bool in_place_ = false;
  std::span<const std::byte> bytes_;  // the panels, or the source's rows
  PageBuffer packed_;                 // owns bytes_ after Pack
};

}  // namespace millrace
