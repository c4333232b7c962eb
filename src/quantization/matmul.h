// Products of activations with quantised weights: y[m, n] = sum over k of x[m, k] * w[n, k].
//
// The defined orders of summation (scalar kernels in matmul_scalar.cc; every other kernel gives the
// same bits for the integer formats):
// - Activations are quantised per row, with a scale for every group along K (the last group may be
//   shorter): groups of 32 for the formats whose blocks are 32 long, groups of 256 for the others.
//   Scale d = max|x| / 127, q = round-half-even(x / d) clamped to +-127, and int16 sums of q over
//   every 16.
// - Q8_0, Q4_0, Q5_0, IQ4_NL, MXFP4: y = fma(float(dot of 32 int8 pairs), d_w * d, y) over the
//   blocks in order, from y = 0.
// - Q4_1, Q5_1: likewise, and after each block y = fma(float(sum of its 32 activations), m * d, y).
// - Q4_K, Q5_K, Q2_K: i = sum of sc * dot, j = sum of m * activation sums, in int32; g = fma(-dmin,
//   float(j), d_w * float(i)); then y = fma(g, d, y) over the groups in order, from y = 0.
// - Q6_K, Q3_K, IQ4_XS: i = sum of sc * dot over sub-blocks of 16 (IQ4_XS: 32), in int32;
//   g = d_w * float(i), and y as before.
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

// The int8 forms that products with some weights need; products with float weights need none.
struct ActivationForms {
  bool blocks = false;  // a scale per 32: weights in blocks of 32
  bool groups = false;  // a scale per 256: weights in super-blocks
  static ActivationForms For(DType weights);
  friend ActivationForms operator|(ActivationForms a, ActivationForms b) {
    return {a.blocks || b.blocks, a.groups || b.groups};
  }
};

// M rows of activations, prepared once and used by several products: the floats (viewed) and their
// int8 forms (owned). The buffers grow and are reused. A row's int8 form depends on that row alone.
class Activations {
 public:
  // One int8 form of all rows. Row-major int8 [M, padded K], scales [M, padded K / group], sums [M,
  // padded K / 16]; padding is zero. Then the same in tiles of four rows; see PanelArgs. The last
  // two are those of groups of 256 only.
  struct Form {
    int64_t group = 0;  // elements of K that share a scale
    AlignedBuffer<int8_t> values;
    AlignedBuffer<float> scales;
    AlignedBuffer<int16_t> sums;
    AlignedBuffer<int8_t> tile_values;
    AlignedBuffer<float> tile_scales;
    AlignedBuffer<int32_t> minus_sums32;
    AlignedBuffer<int32_t> minus_sums16;
    AlignedBuffer<int16_t> pairs;
  };

  // Views x [M, K] (must outlive the products) and quantises it in `forms`. K must be a multiple of
  // 32 for integer weights; any K is good for float weights. Parallel over rows.
  void Assign(const MatMulKernels& kernels, ThreadPool& pool, MatrixView<const float> x,
              ActivationForms forms = {true, true});

  // The same in two steps, for callers that share out the rows themselves: View, then Quantise of
  // all rows, in parts that begin at multiples of 8 and may run on different threads. The floats of
  // a part need to be there only when it is quantised.
  void View(MatrixView<const float> x, ActivationForms forms);
  void Quantise(const MatMulKernels& kernels, int64_t first_row, int64_t last_row);

  int64_t rows() const { return x_.rows; }
  int64_t columns() const { return x_.columns; }
  MatrixView<const float> floats() const { return x_; }
  const Form& blocks() const { return blocks_; }
  const Form& groups() const { return groups_; }
  int64_t padded_columns() const { return padded_columns_; }

  // The part of a kernel's arguments that describes the rows [first, first + count) to weights of
  // that type, whose form must be there; first is a multiple of 4, and so is count unless the last
  // row is among them.
  PanelArgs PanelArgsFor(DType weights, int64_t first, int64_t count) const;

 private:
  void ReserveForm(Form& form, int64_t group) const;
  void AssignTile(const MatMulKernels& kernels, int64_t first, int64_t count, Form& form) const;

  MatrixView<const float> x_;
  ActivationForms forms_;
  int64_t padded_columns_ = 0;  // K rounded up to a whole group of 256
  Form blocks_, groups_;
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
