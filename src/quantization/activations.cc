// Activations::Assign: quantises the rows, then lays them out in tiles of eight for the kernels
// (matmul_kernels.h).
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "quantization/matmul.h"
#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

// The rows of one tile, C of them: `from` [C][n elements of kBytes] to `to` [n][C].
template <size_t kBytes>
void TransposeTile(const void* from, int64_t n, int64_t tile_columns, void* to) {
  const char* source = static_cast<const char*>(from);
  char* target = static_cast<char*>(to);
  for (int64_t c = 0; c < tile_columns; ++c) {
    const char* row = source + c * n * static_cast<int64_t>(kBytes);
    char* column = target + c * static_cast<int64_t>(kBytes);
    for (int64_t i = 0; i < n; ++i) {
      std::memcpy(column + i * tile_columns * static_cast<int64_t>(kBytes),
                  row + i * static_cast<int64_t>(kBytes), kBytes);
    }
  }
}

}  // namespace

void Activations::Assign(const MatMulKernels& kernels, ThreadPool& pool,
                         MatrixView<const float> x) {
  View(x);
  pool.ParallelFor(x.rows, kTileColumns,
                   [&](int64_t first, int64_t last) { Quantise(kernels, first, last); });
}

void Activations::View(MatrixView<const float> x) {
  CHECK(x.rows >= 0 && x.columns >= 0 && x.stride >= x.columns);
  x_ = x;
  groups_ = (x.columns + kActivationGroup - 1) / kActivationGroup;
  padded_columns_ = groups_ * kActivationGroup;
  values_.Reserve(static_cast<size_t>(x.rows * padded_columns_));
  scales_.Reserve(static_cast<size_t>(x.rows * groups_));
  sums_.Reserve(static_cast<size_t>(x.rows * padded_columns_ / 16));
  tile_values_.Reserve(static_cast<size_t>(x.rows * padded_columns_));
  tile_scales_.Reserve(static_cast<size_t>(x.rows * groups_));
  minus_sums16_.Reserve(static_cast<size_t>(x.rows * padded_columns_ / 16));
  minus_sums32_.Reserve(static_cast<size_t>(x.rows * padded_columns_ / 32));
  pairs_.Reserve(static_cast<size_t>(x.rows * padded_columns_ / 32));
}

void Activations::Quantise(const MatMulKernels& kernels, int64_t first_row, int64_t last_row) {
  CHECK(first_row % kTileColumns == 0 && last_row <= x_.rows);
  for (int64_t tile = first_row; tile < last_row; tile += kTileColumns) {
    AssignTile(kernels, tile, std::min(kTileColumns, last_row - tile));
  }
}

void Activations::AssignTile(const MatMulKernels& kernels, int64_t first, int64_t count) {
  for (int64_t m = first; m < first + count; ++m) {
    kernels.quantize_activations(x_.row(m), x_.columns, padded_columns_,
                                 values_.data() + m * padded_columns_, scales_.data() + m * groups_,
                                 sums_.data() + m * (padded_columns_ / 16));
  }
  TransposeTile<4>(values(first), padded_columns_ / 4, count,
                   tile_values_.data() + first * padded_columns_);
  TransposeTile<4>(scales(first), groups_, count, tile_scales_.data() + first * groups_);
  int32_t* sums16 = minus_sums16_.data() + first * (padded_columns_ / 16);
  int32_t* sums32 = minus_sums32_.data() + first * (padded_columns_ / 32);
  int16_t* pairs = pairs_.data() + first * (padded_columns_ / 32);
  for (int64_t c = 0; c < count; ++c) {
    const int16_t* s = sums(first + c);
    for (int64_t i = 0; i < padded_columns_ / 16; ++i) sums16[i * count + c] = -s[i];
    for (int64_t i = 0; i < padded_columns_ / 32; ++i) {
      const int sum = s[2 * i] + s[2 * i + 1];
      sums32[i * count + c] = -sum;
      // Sub-blocks 0..7 of a group go to the pairs 0 1 0 1 2 3 2 3, at the places 0 0 1 1 0 0 1 1.
      const int64_t pair = i / 8 * 4 + i % 8 / 4 * 2 + i % 2;
      pairs[(pair * count + c) * 2 + i % 4 / 2] = static_cast<int16_t>(sum);
    }
  }
}

PanelArgs Activations::PanelArgsFor(int64_t first, int64_t count) const {
  PanelArgs args;
  args.columns = x_.columns;
  args.padded = padded_columns_;
  args.groups = groups_;
  args.m = count;
  args.x = x_.row(first);
  args.x_stride = x_.stride;
  args.values = values(first);
  args.sums = sums(first);
  args.scales = scales(first);
  args.tile_values = tile_values_.data() + first * padded_columns_;
  args.tile_minus_sums16 = minus_sums16_.data() + first * (padded_columns_ / 16);
  args.tile_minus_sums32 = minus_sums32_.data() + first * (padded_columns_ / 32);
  args.tile_pairs = pairs_.data() + first * (padded_columns_ / 32);
  args.tile_scales = tile_scales_.data() + first * groups_;
  return args;
}

}  // namespace millrace
