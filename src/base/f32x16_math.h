// Elementary functions over F32x16, after one of f32x16_{scalar,avx2,avx512}.h, which make them
// bit-identical between instruction sets. Polynomials: least squares at Chebyshev nodes, weighted
// by the relative error, coefficients rounded to f32; the error named is of the polynomial alone.
#pragma once

namespace millrace {
namespace {

// 2^x; 0 for x < -125, 2^127 for x > 127, NaN for NaN. 2^0 is exactly 1. Polynomial error 1.6e-8.
inline F32x16 Exp2(F32x16 x) {
  const F32x16 clamped = Max(Set1(-126.0f), Min(Set1(127.0f), x));
  const F32x16 n = Round(clamped);
  const F32x16 f = Sub(clamped, n);  // exact, |f| <= 1/2
  F32x16 p = Set1(0x1.4258d8p-13f);
  p = Fma(p, f, Set1(0x1.5f44dcp-10f));
  p = Fma(p, f, Set1(0x1.3b2cc4p-7f));
  p = Fma(p, f, Set1(0x1.c6aed6p-5f));
  p = Fma(p, f, Set1(0x1.ebfbdcp-3f));
  p = Fma(p, f, Set1(0x1.62e430p-1f));
  p = Fma(p, f, Set1(1.0f));
  return Select(Less(x, Set1(-125.0f)), Set1(0.0f), ScaleByPowerOfTwo(p, n));
}

// e^x; 0 for x < -87, e^88 for x > 88, NaN for NaN. e^0 is exactly 1. Polynomial error 3.8e-9.
inline F32x16 Exp(F32x16 x) {
  const F32x16 clamped = Max(Set1(-87.0f), Min(Set1(88.0f), x));
  const F32x16 n = Round(Mul(clamped, Set1(0x1.715476p+0f)));
  // r = x - n ln 2, with ln 2 in two parts of which the first has 15 trailing zero bits (Cody and
  // Waite 1980).
  F32x16 r = Fma(n, Set1(-0x1.62e400p-1f), clamped);
  r = Fma(n, Set1(-0x1.7f7d1cp-20f), r);
  F32x16 p = Set1(0x1.687c22p-10f);
  p = Fma(p, r, Set1(0x1.123b8ep-7f));
  p = Fma(p, r, Set1(0x1.555b58p-5f));
  p = Fma(p, r, Set1(0x1.55548ep-3f));
  p = Fma(p, r, Set1(0x1.fffff8p-2f));
  p = Add(Fma(p, Mul(r, r), r), Set1(1.0f));
  return Select(Less(x, Set1(-87.0f)), Set1(0.0f), ScaleByPowerOfTwo(p, n));
}

// Near 0 the polynomial of Cephes tanhf (Moshier), elsewhere 1 - 2 / (e^2x + 1).
inline F32x16 Tanh(F32x16 x) {
  const F32x16 magnitude = Abs(x);
  const F32x16 e = Exp(Add(magnitude, magnitude));
  const F32x16 far = Sub(Set1(1.0f), Div(Set1(2.0f), Add(e, Set1(1.0f))));
  const F32x16 z = Mul(x, x);
  F32x16 p = Set1(-5.70498872745e-3f);
  p = Fma(p, z, Set1(2.06390887954e-2f));
  p = Fma(p, z, Set1(-5.37397155531e-2f));
  p = Fma(p, z, Set1(1.33314422036e-1f));
  p = Fma(p, z, Set1(-3.33332819422e-1f));
  const F32x16 near = Fma(Mul(p, z), x, x);
  return Select(Less(magnitude, Set1(0.625f)), near, CopySign(far, x));
}

}  // namespace
}  // namespace millrace
