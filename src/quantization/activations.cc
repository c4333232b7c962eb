// Activations::Assign: quantises the rows, then lays them out in tiles of four for the kernels
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

ActivationForms ActivationForms::For(DType weights) {
  const int64_t block = InfoOf(weights).block_elements;
  return {block == kActivationBlock, block == kActivationGroup};
}

void Activations::Assign(const MatMulKernels& kernels, ThreadPool& pool, MatrixView<const float> x,
                         ActivationForms forms) {
  View(x, forms);
  pool.ParallelFor(x.rows, kTileColumns,
                   [&](int64_t first, int64_t last) { Quantise(kernels, first, last); });
}

void Activations::View(MatrixView<const float> x, ActivationForms forms) {
  CHECK(x.rows >= 0 && x.columns >= 0 && x.stride >= x.columns);
  x_ = x;
  forms_ = forms;
  padded_columns_ = (x.columns + kActivationGroup - 1) / kActivationGroup * kActivationGroup;
  if (forms.blocks) ReserveForm(blocks_, kActivationBlock);
  if (forms.groups) ReserveForm(groups_, kActivationGroup);
}

void Activations::ReserveForm(Form& form, int64_t group) const {
  const auto elements = static_cast<size_t>(x_.rows * padded_columns_);
  const size_t scales = elements / static_cast<size_t>(group);
  form.group = group;
  form.values.Reserve(elements);
  form.scales.Reserve(scales);
  form.sums.Reserve(elements / 16);
  form.tile_values.Reserve(elements);
  form.tile_scales.Reserve(scales);
  form.minus_sums32.Reserve(elements / 32);
  if (group != kActivationGroup) return;
  form.minus_sums16.Reserve(elements / 16);
  form.pairs.Reserve(elements / 32);
}

void Activations::Quantise(const MatMulKernels& kernels, int64_t first_row, int64_t last_row) {
  CHECK(first_row % kTileColumns == 0 && last_row <= x_.rows);
  for (int64_t tile = first_row; tile < last_row; tile += kTileColumns) {
    const int64_t count = std::min(kTileColumns, last_row - tile);
    if (forms_.blocks) AssignTile(kernels, tile, count, blocks_);
    if (forms_.groups) AssignTile(kernels, tile, count, groups_);
  }
}

void Activations::AssignTile(const MatMulKernels& kernels, int64_t first, int64_t count,
                             Form& form) const {
  const int64_t n = padded_columns_, scales = n / form.group;
  for (int64_t m = first; m < first + count; ++m) {
    kernels.quantize_activations(x_.row(m), x_.columns, n, form.group, form.values.data() + m * n,
                                 form.scales.data() + m * scales, form.sums.data() + m * (n / 16));
  }
  TransposeTile<4>(form.values.data() + first * n, n / 4, count,
                   form.tile_values.data() + first * n);
  TransposeTile<4>(form.scales.data() + first * scales, scales, count,
                   form.tile_scales.data() + first * scales);
  int32_t* sums32 = form.minus_sums32.data() + first * (n / 32);
  for (int64_t c = 0; c < count; ++c) {
    const int16_t* s = form.sums.data() + (first + c) * (n / 16);
    for (int64_t i = 0; i < n / 32; ++i) sums32[i * count + c] = -(s[2 * i] + s[2 * i + 1]);
  }
  if (form.group != kActivationGroup) return;
  int32_t* sums16 = form.minus_sums16.data() + first * (n / 16);
  int16_t* pairs = form.pairs.data() + first * (n / 32);
  for (int64_t c = 0; c < count; ++c) {
    const int16_t* s = form.sums.data() + (first + c) * (n / 16);
    for (int64_t i = 0; i < n / 16; ++i) sums16[i * count + c] = -s[i];
    for (int64_t i = 0; i < n / 32; ++i) {
      // Sub-blocks 0..7 of a group go to the pairs 0 1 0 1 2 3 2 3, at the places 0 0 1 1 0 0 1 1.
      const int64_t pair = i / 8 * 4 + i % 8 / 4 * 2 + i % 2;
      pairs[(pair * count + c) * 2 + i % 4 / 2] = static_cast<int16_t>(-sums32[i * count + c]);
    }
  }
}

PanelArgs Activations::PanelArgsFor(DType weights, int64_t first, int64_t count) const {
  PanelArgs args;
  args.columns = x_.columns;
  args.padded = padded_columns_;
  args.groups = padded_columns_ / kActivationGroup;
  args.m = count;
  args.x = x_.row(first);
  args.x_stride = x_.stride;
  const ActivationForms needed = ActivationForms::For(weights);
  CHECK((forms_.blocks || !needed.blocks) && (forms_.groups || !needed.groups));
  if (!needed.blocks && !needed.groups) return args;
  const Form& form = needed.blocks ? blocks_ : groups_;
  const int64_t n = padded_columns_, scales = n / form.group;
  args.scales_per_group = kActivationGroup / form.group;
  args.values = form.values.data() + first * n;
  args.sums = form.sums.data() + first * (n / 16);
  args.scales = form.scales.data() + first * scales;
  args.tile_values = form.tile_values.data() + first * n;
  args.tile_scales = form.tile_scales.data() + first * scales;
  args.tile_minus_sums32 = form.minus_sums32.data() + first * (n / 32);
  if (needed.blocks) return args;
  args.tile_minus_sums16 = form.minus_sums16.data() + first * (n / 16);
  args.tile_pairs = form.pairs.data() + first * (n / 32);
  return args;
}

}  // namespace millrace
