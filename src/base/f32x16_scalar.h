// F32x16: sixteen f32 lanes in portable C++: the twin that defines what f32x16_avx2.h and
// f32x16_avx512.h compute.
//
// Invariant: the three headers give the same bits for the same input, operation by operation, so
// that a kernel written once over F32x16 agrees between all instruction sets. Exactly one of them
// is included in a translation unit. All is in an anonymous namespace, free of std:: templates:
// code built for one instruction set never reaches another's.
#pragma once

#include <cstdint>
#include <cstring>

namespace millrace {
namespace {

struct F32x16 {
  float lane[16];
};

struct Mask16 {
  bool lane[16];
};

// Applies an expression of the lane number i to all lanes.
#define MILLRACE_LANES(type, expression)                      \
  type result;                                                \
  for (int i = 0; i < 16; ++i) result.lane[i] = (expression); \
  return result

inline F32x16 Set1(float x) { MILLRACE_LANES(F32x16, x); }
inline F32x16 Load(const float* p) { MILLRACE_LANES(F32x16, p[i]); }
inline void Store(float* p, F32x16 x) { std::memcpy(p, x.lane, sizeof(x.lane)); }
// The first n lanes, 0 <= n <= 16; the others are zero, and not read or written.
inline F32x16 LoadFirst(const float* p, int64_t n) { MILLRACE_LANES(F32x16, i < n ? p[i] : 0.0f); }
inline void StoreFirst(float* p, F32x16 x, int64_t n) {
  for (int i = 0; i < 16; ++i) {
    if (i < n) p[i] = x.lane[i];
  }
}

// The first and the second of each of sixteen neighbouring pairs of bf16.
inline F32x16 LoadPairsFirst(const uint16_t* p) {
  F32x16 result;
  for (int i = 0; i < 16; ++i) {
    const uint32_t bits = static_cast<uint32_t>(p[2 * i]) << 16;
    std::memcpy(&result.lane[i], &bits, sizeof(bits));
  }
  return result;
}
inline F32x16 LoadPairsSecond(const uint16_t* p) { return LoadPairsFirst(p + 1); }

inline F32x16 Add(F32x16 a, F32x16 b) { MILLRACE_LANES(F32x16, a.lane[i] + b.lane[i]); }
inline F32x16 Sub(F32x16 a, F32x16 b) { MILLRACE_LANES(F32x16, a.lane[i] - b.lane[i]); }
inline F32x16 Mul(F32x16 a, F32x16 b) { MILLRACE_LANES(F32x16, a.lane[i] * b.lane[i]); }
inline F32x16 Div(F32x16 a, F32x16 b) { MILLRACE_LANES(F32x16, a.lane[i] / b.lane[i]); }
// a * b + c with one rounding.
inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  MILLRACE_LANES(F32x16, __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]));
}
// a > b ? a : b, so b where either is NaN; likewise Min.
inline F32x16 Max(F32x16 a, F32x16 b) {
  MILLRACE_LANES(F32x16, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]);
}
inline F32x16 Min(F32x16 a, F32x16 b) {
  MILLRACE_LANES(F32x16, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]);
}
inline F32x16 Abs(F32x16 a) { MILLRACE_LANES(F32x16, __builtin_fabsf(a.lane[i])); }
inline F32x16 CopySign(F32x16 magnitude, F32x16 sign) {
  MILLRACE_LANES(F32x16, __builtin_copysignf(magnitude.lane[i], sign.lane[i]));
}

inline Mask16 Less(F32x16 a, F32x16 b) { MILLRACE_LANES(Mask16, a.lane[i] < b.lane[i]); }
// Lanes begin <= i < end; any integers.
inline Mask16 LaneRange(int begin, int end) { MILLRACE_LANES(Mask16, begin <= i && i < end); }
inline F32x16 Select(Mask16 mask, F32x16 yes, F32x16 no) {
  MILLRACE_LANES(F32x16, mask.lane[i] ? yes.lane[i] : no.lane[i]);
}

// To the nearest integer, ties to even; |x| < 2^22.
inline F32x16 Round(F32x16 x) { MILLRACE_LANES(F32x16, (x.lane[i] + 12582912.0f) - 12582912.0f); }
// x * 2^n for integers -126 <= n <= 127.
inline F32x16 ScaleByPowerOfTwo(F32x16 x, F32x16 n) {
  F32x16 result;
  for (int i = 0; i < 16; ++i) {
    // The low bits of n + 2^23 + 2^22 hold n; a NaN gives some factor, and the product is still
    // NaN.
    const float shifted = n.lane[i] + 12582912.0f;
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    bits = (bits << 23) + (127u << 23);
    float factor;
    std::memcpy(&factor, &bits, sizeof(factor));
    result.lane[i] = x.lane[i] * factor;
  }
  return result;
}

// Lane i with lane i + 8, then i + 4, i + 2, i + 1.
inline float ReduceAdd(F32x16 x) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x.lane[i] = x.lane[i] + x.lane[i + width];
  }
  return x.lane[0];
}
inline float ReduceMax(F32x16 x) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      x.lane[i] = x.lane[i] > x.lane[i + width] ? x.lane[i] : x.lane[i + width];
    }
  }
  return x.lane[0];
}
inline float FirstLane(F32x16 x) { return x.lane[0]; }

#undef MILLRACE_LANES

}  // namespace
}  // namespace millrace
