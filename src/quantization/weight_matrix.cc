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

// Source bytes that are read between two calls of a Release: a few hundred calls per gigabyte.
constexpr int64_t kReleaseBytes = int64_t{2} << 20;

Error UnsupportedType(DType type) {
  std::string names;
  for (DType t : kSupported) names += (names.empty() ? "" : ", ") + std::string(NameOf(t));
  return {"weights of type " + std::string(NameOf(type)) +
              " cannot be multiplied: convert the model to one of " + names,
          ErrorKind::kUnsupported};
}

}  // namespace

std::span<const DType> WeightMatrix::SupportedTypes() { return kSupported; }

Result<WeightMatrix> WeightMatrix::Shape(DType type, int64_t rows, int64_t columns) {
  if (std::find(std::begin(kSupported), std::end(kSupported), type) == std::end(kSupported)) {
    return UnsupportedType(type);
  }
  CHECK(rows >= 0 && columns >= 0 && columns % InfoOf(type).block_elements == 0);
  WeightMatrix w;
  w.type_ = type;
  w.rows_ = rows;
  w.columns_ = columns;
  w.panel_bytes_ = MakePackedLayout(type, columns).panel_bytes;
  return w;
}

Result<WeightMatrix> WeightMatrix::Pack(DType type, int64_t rows, int64_t columns,
                                        std::span<const std::byte> source, ThreadPool& pool,
                                        const Release& done) {
  ASSIGN_OR_RETURN(WeightMatrix w, Shape(type, rows, columns));
  const PackedLayout layout = MakePackedLayout(type, columns);
  CHECK(source.size() == static_cast<size_t>(rows) * static_cast<size_t>(layout.row_bytes));
  w.packed_ = PageBuffer(static_cast<size_t>(w.panels() * w.panel_bytes_));
  std::byte* packed = w.packed_.data();
  const int64_t grain = kReleaseBytes / std::max<int64_t>(w.panel_bytes_, 1) + 1;
  pool.ParallelFor(w.panels(), done ? grain : 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p += grain) {
      const int64_t end = std::min(p + grain, last);
      for (int64_t i = p; i < end; ++i) {
        const int64_t row = i * kPanelRows;
        PackPanel(layout, source.data() + row * layout.row_bytes, std::min(kPanelRows, rows - row),
                  packed + i * w.panel_bytes_);
      }
      const int64_t row_bytes = layout.row_bytes;
      const auto begin = static_cast<size_t>(p * kPanelRows * row_bytes);
      const auto past = static_cast<size_t>(std::min(end * kPanelRows, rows) * row_bytes);
      if (done) done(source.subspan(begin, past - begin));
    }
  });
  w.bytes_ = {packed, w.packed_.size()};
  return w;
}

Result<WeightMatrix> WeightMatrix::InPlace(DType type, int64_t rows, int64_t columns,
                                           std::span<const std::byte> source) {
  ASSIGN_OR_RETURN(WeightMatrix w, Shape(type, rows, columns));
  CHECK(source.size() == static_cast<size_t>(rows * RowBytes(type, columns)));
  w.in_place_ = true;
  w.bytes_ = source;
  return w;
}

Result<WeightMatrix> WeightMatrix::FromPanels(DType type, int64_t rows, int64_t columns,
                                              std::span<const std::byte> panels) {
  ASSIGN_OR_RETURN(WeightMatrix w, Shape(type, rows, columns));
  const auto wanted = static_cast<size_t>(w.panels() * w.panel_bytes_);
  if (panels.size() != wanted || reinterpret_cast<uintptr_t>(panels.data()) % 64 != 0) {
    return Error{"packed weights of " + std::to_string(panels.size()) + " bytes where " +
                 std::to_string(wanted) + " are needed"};
  }
  w.bytes_ = panels;
  return w;
}

std::span<const std::byte> WeightMatrix::packed_bytes() const {
  return in_place_ ? std::span<const std::byte>() : bytes_;
}

void WeightMatrix::PackPanelTo(int64_t p, std::byte* out) const {
  CHECK(in_place_ && p >= 0 && p < panels());
  const PackedLayout layout = MakePackedLayout(type_, columns_);
  const int64_t row = p * kPanelRows;
  PackPanel(layout, bytes_.data() + row * layout.row_bytes, std::min(kPanelRows, rows_ - row), out);
}

void WeightMatrix::DequantizeRow(int64_t row, std::span<float> out) const {
  CHECK(row >= 0 && row < rows_);
  CHECK(out.size() == static_cast<size_t>(columns_));
  const PackedLayout layout = MakePackedLayout(type_, columns_);
  const auto row_bytes = static_cast<size_t>(layout.row_bytes);
  if (in_place_) {
    DequantizeBlocks(type_, bytes_.subspan(static_cast<size_t>(row) * row_bytes, row_bytes), out);
    return;
  }
  std::vector<std::byte> blocks(row_bytes);
  UnpackRow(layout, panel(row / kPanelRows), row % kPanelRows, blocks.data());
  DequantizeBlocks(type_, blocks, out);
}

}  // namespace millrace
