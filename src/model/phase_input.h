// PhaseInput: the rows that one phase of the forward pass multiplies with its weights: normalised,
// if the phase begins with a norm, and quantised.
//
// Few rows are prepared by every thread for itself when it takes its first piece of the phase,
// which costs less than waiting for each other. Many rows are prepared once, shared out among the
// threads, before the phase. A row's bits are the same either way: they depend on that row alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/matrix.h"
#include "base/thread_pool.h"
#include "nn_ops/nn_ops.h"
#include "quantization/matmul.h"

namespace millrace {

// To share out a phase and to meet again costs a few microseconds, in which one thread reads some
// 300 KiB of weights from its caches: a smaller phase is the caller's alone. Eight rows cost about
// as much as two that come alone.
inline bool IsWorthSharing(size_t weight_bytes, int64_t rows) {
  return weight_bytes * static_cast<size_t>(8 + rows) / 8 >= size_t{300} << 10;
}

class PhaseInput {
 public:
  PhaseInput(const NnKernels& nn, const MatMulKernels& matmul, ThreadPool& pool);

  // The rows of x as they are, for products with weights that need `forms`; they must not change
  // before the phase has ended.
  void Set(MatrixView<const float> x, ActivationForms forms) { Begin(x, {}, 0.0f, forms); }
  // The same, each row first normalised (RMS): x / sqrt(mean(x^2) + epsilon) * weight.
  void SetNormalised(MatrixView<const float> x, std::span<const float> weight, float epsilon,
                     ActivationForms forms) {
    Begin(x, weight, epsilon, forms);
  }

  // For use as the `prepare` of ThreadPool::ParallelFor: the rows, ready for that thread to
  // multiply.
  const Activations& For(int thread);

 private:
  struct Prepared {
    AlignedBuffer<float> normed;
    Activations activations;
  };

  void Begin(MatrixView<const float> x, std::span<const float> weight, float epsilon,
             ActivationForms forms);
  void Reserve(Prepared& prepared);
  void Prepare(Prepared& prepared, int64_t first_row, int64_t last_row);
  bool IsRepeated() const;

  const NnKernels& nn_;
  const MatMulKernels& matmul_;
  ThreadPool& pool_;
  MatrixView<const float> x_;
  std::span<const float> weight_;  // empty: without a norm
  float epsilon_ = 0.0f;
  ActivationForms forms_;
  Prepared shared_;
  std::vector<Prepared> own_;  // per thread
};

}  // namespace millrace
