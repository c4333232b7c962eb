// Products of activations with quantised weights: y[m, n] = sum over k of x[m, k] * w[n, k].
//
// The defined orders of summation (scalar kernels in matmul_scalar.cc; every other kernel gives the
// same bits for the integer formats):
// - Activations are quantised per row in groups of 256 along K (the last group may be shorter):
// scale d = max|x| / 127,
//   q = round-half-even(x / d) clamped to +-127, and int16 sums of q over every 16.
// - Q8_0, Q4_0, Q5_0, IQ4_NL, MXFP4: per group, g = fma(float(dot of 32 int8 pairs), d_w, g) over
//   its blocks in order, from g = 0; then y = fma(g, d, y) over the groups in order, from y = 0.
// - Q4_1, Q5_1: likewise, and after each block g = fma(float(sum of its 32 activations), m, g).
// - Q4_K, Q5_K, Q2_K: i = sum of sc * dot, j = sum of m * activation sums, in int32; g = fma(-dmin,
//   float(j), d_w * float(i)).
// - Q6_K, Q3_K, IQ4_XS: i = sum of sc * dot over sub-blocks of 16 (IQ4_XS: 32), in int32;
//   g = d_w * float(i).
//   IQ4_NL, IQ4_XS and MXFP4 multiply the values that their codes stand for (matmul_kernels.h).
// - F32, F16, BF16 weights with f32 activations: per group of 256, two partial sums s0 and s1 (even
// and odd k), each a
//   chain of fma from 0; then y = y + (s0 + s1) over the groups in order, from y = 0. Fma is exact
//   to the last bit, so these formats agree across Isas too.
// An activation group that holds an infinity or a NaN gets the scale NaN and codes 0, so with
// integer weights the outputs of that row are NaN.
#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/matrix.h"
#include "base/thread_pool.h"
#include "quantization/weight_matrix.h"
#include "simd/isa.h"

namespace millrace {

struct MatMulKernels;  // a table of function pointers for one Isa; defined in matmul_kernels.h
struct PanelArgs;      // what a kernel is given; likewise
const MatMulKernels& MatMulKernelsFor(Isa isa);

// M rows of activations, prepared once and used by several products: the floats (viewed) and their
// int8 form (owned). The buffers grow and are reused. A row's int8 form depends on that row alone.
class Activations {
 public:
  // Views x [M, K] (must outlive the products) and quantises it. K must be a multiple of 32 for
  // integer weights; any K is good for float weights. Parallel over rows.
  void Assign(const MatMulKernels& kernels, ThreadPool& pool, MatrixView<const float> x);

  // The same in two steps, for callers that share out the rows themselves: View, then Quantise of
  // all rows, in parts that begin at multiples of 8 and may run on different threads. The floats of
  // a part need to be there only when it is quantised.
  void View(MatrixView<const float> x);
  void Quantise(const MatMulKernels& kernels, int64_t first_row, int64_t last_row);

  int64_t rows() const { return x_.rows; }
  int64_t columns() const { return x_.columns; }
  MatrixView<const float> floats() const { return x_; }
  // Row-major int8 [M, padded K], scales [M, groups], sums [M, padded K / 16]; padding is zero.
  const int8_t* values(int64_t m) const { return values_.data() + m * padded_columns_; }
  const float* scales(int64_t m) const { return scales_.data() + m * groups_; }
  const int16_t* sums(int64_t m) const { return sums_.data() + m * (padded_columns_ / 16); }
  int64_t padded_columns() const { return padded_columns_; }
  int64_t groups() const { return groups_; }

  // The part of a kernel's arguments that describes the rows [first, first + count); first is a
  // multiple of 8, and so is count unless the last row is among them.
  PanelArgs PanelArgsFor(int64_t first, int64_t count) const;

 private:
  void AssignTile(const MatMulKernels& kernels, int64_t first, int64_t count);

  MatrixView<const float> x_;
  int64_t padded_columns_ = 0;  // K rounded up to a whole group of 256
  int64_t groups_ = 0;
  AlignedBuffer<int8_t> values_;
  AlignedBuffer<float> scales_;
  AlignedBuffer<int16_t> sums_;
  // The same in tiles of eight rows; see PanelArgs.
  AlignedBuffer<int8_t> tile_values_;
  AlignedBuffer<float> tile_scales_;
  AlignedBuffer<int32_t> minus_sums16_;
  AlignedBuffer<int32_t> minus_sums32_;
  AlignedBuffer<int16_t> pairs_;
};

// y [M, N] = x * w^T; y.rows == x.rows(), y.columns == w.rows(). Parallel over the panels of w.
void MatMul(const MatMulKernels& kernels, ThreadPool& pool, const WeightMatrix& w,
            const Activations& x, MatrixView<float> y);

// Panels that make a task worth its start and still balance that many threads.
int64_t PanelsPerTask(const WeightMatrix& w, int threads);

// The same for the panels [first, last) of w on the calling thread: for use inside a task of the
// pool.
void MatMulPanels(const MatMulKernels& kernels, const WeightMatrix& w, const Activations& x,
                  MatrixView<float> y, int64_t first_panel, int64_t last_panel);

}  // namespace millrace
