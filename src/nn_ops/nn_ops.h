// The small operations between the matrix products: norms, activations, sums. Row-wise, so a row's
// result never depends on its batch. All sums have one fixed order per Isa.
#pragma once

#include <cstdint>
#include <span>

#include "simd/isa.h"

namespace millrace {

// Plain-data table of the kernels of one instruction set. All pointers may alias only where said.
struct NnKernels {
  // out[i] = x[i] * weight[i] / sqrt(mean(x^2) + epsilon); out may be x.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t n, float* out);
  // out[i] = (x[i] - mean(x)) / sqrt(variance(x) + epsilon) * weight[i] + bias[i] (Ba et al. 2016);
  // out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float epsilon,
                     int64_t n, float* out);
  // out[i] = silu(gate[i]) * up[i]; out may be gate or up.
  void (*silu_multiply)(const float* gate, const float* up, int64_t n, float* out);
  // out[i] = gelu_tanh(gate[i]) * up[i] (Gemma's GeGLU); out may be gate or up.
  void (*gelu_multiply)(const float* gate, const float* up, int64_t n, float* out);
  // x[i] = x[i] * Phi(x[i]), with the normal distribution's Phi: the GELU of BERT, by the error
  // function (Hendrycks and Gimpel 2016).
  void (*gelu_erf)(float* x, int64_t n);
  // x[i] += y[i]
  void (*add)(float* x, const float* y, int64_t n);
  // x[i] *= factor
  void (*scale)(float* x, float factor, int64_t n);
  // In place, stable: subtracts the maximum. n >= 1.
  void (*softmax)(float* x, int64_t n);
  // Rotates pairs in place: (a, b) -> (a cos - b sin, a sin + b cos), pairs counted by i < half.
  void (*rope_adjacent)(float* head, const float* cos, const float* sin,
                        int64_t half);  // (x[2i], x[2i+1])
  void (*rope_halves)(float* head, const float* cos, const float* sin,
                      int64_t half);  // (x[i], x[i+half])
};

const NnKernels& NnKernelsFor(Isa isa);

}  // namespace millrace
