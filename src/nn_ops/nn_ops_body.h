// The kernels of nn_ops, written once over F32x16. Included at the end of
// nn_ops_{scalar,avx2,avx512}.cc, after the F32x16 of that instruction set; defines kKernels. Tails
// go through the same vector code with the missing lanes zero, so an element's value does not
// depend on where it stands.
#pragma once

#include "base/f32x16_math.h"
#include "nn_ops/nn_ops.h"

namespace millrace {
namespace {

// Calls body(i, n) for i = 0, 16, ...; n = 16 but for the last.
template <class Body>
inline void ForEachVector(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) body(i, int64_t{16});
  if (i < count) body(i, count - i);
}

inline F32x16 LoadSome(const float* p, int64_t n) { return n == 16 ? Load(p) : LoadFirst(p, n); }
inline void StoreSome(float* p, F32x16 x, int64_t n) {
  if (n == 16) {
    Store(p, x);
  } else {
    StoreFirst(p, x, n);
  }
}

// Four accumulators of 16 lanes take the vectors in turn; then (0 + 1) + (2 + 3), then ReduceAdd.
float SumOfSquares(const float* x, int64_t count) {
  F32x16 sum[4] = {Set1(0.0f), Set1(0.0f), Set1(0.0f), Set1(0.0f)};
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const F32x16 a = Load(x + i), b = Load(x + i + 16), c = Load(x + i + 32), d = Load(x + i + 48);
    sum[0] = Fma(a, a, sum[0]);
    sum[1] = Fma(b, b, sum[1]);
    sum[2] = Fma(c, c, sum[2]);
    sum[3] = Fma(d, d, sum[3]);
  }
  for (int part = 0; i < count; i += 16, ++part) {
    const F32x16 a = LoadSome(x + i, count - i < 16 ? count - i : 16);
    sum[part] = Fma(a, a, sum[part]);
  }
  return ReduceAdd(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
}

void RmsNorm(const float* x, const float* weight, float epsilon, int64_t count, float* out) {
  const float mean = SumOfSquares(x, count) / static_cast<float>(count);
  const F32x16 factor = Set1(1.0f / __builtin_sqrtf(mean + epsilon));
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const F32x16 y = Mul(Mul(LoadSome(x + i, n), factor), LoadSome(weight + i, n));
        StoreSome(out + i, y, n);
      });
}

// The sum of (x - centre)^power, power 1 or 2; four accumulators as in SumOfSquares.
template <int kPower>
float CentredSum(const float* x, float centre, int64_t count) {
  F32x16 sum[4] = {Set1(0.0f), Set1(0.0f), Set1(0.0f), Set1(0.0f)};
  int part = 0;
  ForEachVector(
      count, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Mask16 present = LaneRange(0, static_cast<int>(n));
        const F32x16 d = Select(present, Sub(LoadSome(x + i, n), Set1(centre)), Set1(0.0f));
        sum[part] = kPower == 1 ? Add(sum[part], d) : Fma(d, d, sum[part]);
        part = (part + 1) % 4;
      });
  return ReduceAdd(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
}

// In two passes: the variance is of differences from the mean, so that a large mean costs nothing.
void LayerNorm(const float* x, const float* weight, const float* bias, float epsilon, int64_t count,
               float* out) {
  const float mean = CentredSum<1>(x, 0.0f, count) / static_cast<float>(count);
  const float variance = CentredSum<2>(x, mean, count) / static_cast<float>(count);
  const F32x16 factor = Set1(1.0f / __builtin_sqrtf(variance + epsilon));
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const F32x16 d = Mul(Sub(LoadSome(x + i, n), Set1(mean)), factor);
        StoreSome(out + i, Fma(d, LoadSome(weight + i, n), LoadSome(bias + i, n)), n);
      });
}

// erfc(|x| / sqrt(2)), relative error under 1.2e-7 before rounding: the Chebyshev fit of Press et
// al., Numerical Recipes (2nd edition, 1992), section 6.2.
inline F32x16 TwoTails(F32x16 x) {
  const F32x16 z = Mul(Abs(x), Set1(0.70710678118654752f));
  const F32x16 t = Div(Set1(1.0f), Fma(z, Set1(0.5f), Set1(1.0f)));
  F32x16 p = Set1(0.17087277f);
  p = Fma(p, t, Set1(-0.82215223f));
  p = Fma(p, t, Set1(1.48851587f));
  p = Fma(p, t, Set1(-1.13520398f));
  p = Fma(p, t, Set1(0.27886807f));
  p = Fma(p, t, Set1(-0.18628806f));
  p = Fma(p, t, Set1(0.09678418f));
  p = Fma(p, t, Set1(0.37409196f));
  p = Fma(p, t, Set1(1.00002368f));
  p = Fma(p, t, Set1(-1.26551223f));
  return Mul(t, Exp(Fma(Mul(x, Set1(-0.5f)), x, p)));
}

void GeluErf(float* x, int64_t count) {
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const F32x16 y = LoadSome(x + i, n);
        const F32x16 tail = Mul(Set1(0.5f), TwoTails(y));  // Phi(-|y|)
        const F32x16 phi = Select(Less(y, Set1(0.0f)), tail, Sub(Set1(1.0f), tail));
        StoreSome(x + i, Mul(y, phi), n);
      });
}

// x / (1 + e^-x)
void SiluMultiply(const float* gate, const float* up, int64_t count, float* out) {
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const F32x16 x = LoadSome(gate + i, n);
        const F32x16 e = Exp(Sub(Set1(0.0f), x));
        const F32x16 silu = Div(x, Add(Set1(1.0f), e));
        StoreSome(out + i, Mul(silu, LoadSome(up + i, n)), n);
      });
}

// Rounds to 11 significant bits, those of a half float (Veltkamp's splitting, Dekker 1971).
inline F32x16 RoundToHalfPrecision(F32x16 x) {
  const F32x16 scaled = Mul(x, Set1(8193.0f));
  return Sub(scaled, Sub(scaled, x));
}

// x/2 (1 + tanh u) = x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3): no cancellation for
// negative x. Argument and value are rounded to half precision because the reference implementation
// (ggml) reads GELU from a table of half floats: without it, logits differ from its by 3e-4.
void GeluMultiply(const float* gate, const float* up, int64_t count, float* out) {
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const F32x16 x = RoundToHalfPrecision(LoadSome(gate + i, n));
        const F32x16 cubic = Fma(Mul(Mul(x, x), Set1(0.044715f)), x, x);
        const F32x16 e = Exp(Mul(cubic, Set1(-1.5957691216057308f)));
        const F32x16 gelu = RoundToHalfPrecision(Div(x, Add(Set1(1.0f), e)));
        StoreSome(out + i, Mul(gelu, LoadSome(up + i, n)), n);
      });
}

void AddTo(float* x, const float* y, int64_t count) {
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        StoreSome(x + i, Add(LoadSome(x + i, n), LoadSome(y + i, n)), n);
      });
}

void Scale(float* x, float factor, int64_t count) {
  ForEachVector(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        StoreSome(x + i, Mul(LoadSome(x + i, n), Set1(factor)), n);
      });
}

void Softmax(float* x, int64_t count) {
  const F32x16 lowest = Set1(-__builtin_inff());
  F32x16 top = lowest;
  ForEachVector(
      count, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Mask16 present = LaneRange(0, static_cast<int>(n));
        top = Max(Select(present, LoadSome(x + i, n), lowest), top);
      });
  const F32x16 maximum = Set1(ReduceMax(top));
  F32x16 sum = Set1(0.0f);
  ForEachVector(
      count, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Mask16 present = LaneRange(0, static_cast<int>(n));
        const F32x16 e = Exp(Sub(LoadSome(x + i, n), maximum));
        sum = Add(sum, Select(present, e, Set1(0.0f)));
        StoreSome(x + i, e, n);
      });
  Scale(x, 1.0f / ReduceAdd(sum), count);
}

// One pair: a cos - b sin and a sin + b cos, each with one rounded product and one fused step.
inline void RotatePair(float* a, float* b, float cos, float sin) {
  const float x = *a, y = *b;
  *a = __builtin_fmaf(x, cos, -(y * sin));
  *b = __builtin_fmaf(x, sin, y * cos);
}

void RopeAdjacent(float* head, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) RotatePair(head + 2 * i, head + 2 * i + 1, cos[i], sin[i]);
}

void RopeHalves(float* head, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) RotatePair(head + i, head + half + i, cos[i], sin[i]);
}

constexpr NnKernels kKernels = {
    .rms_norm = RmsNorm,
    .layer_norm = LayerNorm,
    .silu_multiply = SiluMultiply,
    .gelu_multiply = GeluMultiply,
    .gelu_erf = GeluErf,
    .add = AddTo,
    .scale = Scale,
    .softmax = Softmax,
    .rope_adjacent = RopeAdjacent,
    .rope_halves = RopeHalves,
};

}  // namespace
}  // namespace millrace
