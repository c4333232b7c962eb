#include "quantization/weight_matrix.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "quantization/block_formats.h"
#include "quantization/packed_layout.h"

namespace millrace {
namespace {

constexpr DType kSupported[] = {DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ8_0,
                                DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,   DType::kQ5_1,
                                DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,   DType::kQ5_K,
                                DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

Error UnsupportedType(DType type) {
  std::string names;
  for (DType t : kSupported) names += (names.empty() ? "" : ", ") + std::string(NameOf(t));
  return {"weights of type " + std::string(NameOf(type)) +
              " cannot be multiplied: convert the model to one of " + names,
          ErrorKind::kUnsupported};
}

}  // namespace

std::span<const DType> WeightMatrix::SupportedTypes() { return kSupported; }

Result<WeightMatrix> WeightMatrix::Pack(DType type, int64_t rows, int64_t columns,
                                        std::span<const std::byte> source, ThreadPool& pool) {
  if (std::find(std::begin(kSupported), std::end(kSupported), type) == std::end(kSupported)) {
    return UnsupportedType(type);
  }
  CHECK(rows >= 0 && columns >= 0 && columns % InfoOf(type).block_elements == 0);
  const PackedLayout layout = MakePackedLayout(type, columns);
  CHECK(source.size() == static_cast<size_t>(rows) * static_cast<size_t>(layout.row_bytes));
  WeightMatrix w;
  w.type_ = type;
  w.rows_ = rows;
  w.columns_ = columns;
  w.panel_bytes_ = layout.panel_bytes;
  w.packed_ = PageBuffer(static_cast<size_t>(w.panels() * w.panel_bytes_));
  pool.ParallelFor(w.panels(), 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      const int64_t row = p * kPanelRows;
      PackPanel(layout, source.data() + row * layout.row_bytes, std::min(kPanelRows, rows - row),
                w.packed_.data() + p * w.panel_bytes_);
    }
  });
  return w;
}

void WeightMatrix::DequantizeRow(int64_t row, std::span<float> out) const {
  CHECK(row >= 0 && row < rows_);
  CHECK(out.size() == static_cast<size_t>(columns_));
  const PackedLayout layout = MakePackedLayout(type_, columns_);
  std::vector<std::byte> blocks(static_cast<size_t>(layout.row_bytes));
  UnpackRow(layout, panel(row / kPanelRows), row % kPanelRows, blocks.data());
  DequantizeBlocks(type_, blocks, out);
}

}  // namespace millrace
