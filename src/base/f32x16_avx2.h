// F32x16 as two AVX registers; see f32x16_scalar.h, whose results these are. For files compiled for
// AVX2 and FMA only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace millrace {
namespace {

struct F32x16 {
  __m256 low, high;
};

struct Mask16 {
  __m256 low, high;  // all bits of a lane, or none
};

inline F32x16 Set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32x16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}

inline __m256 EightLanes(int begin, int end) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i before_end = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane);
  const __m256i before_begin = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), lane);
  return _mm256_castsi256_ps(_mm256_andnot_si256(before_begin, before_end));
}
inline Mask16 LaneRange(int begin, int end) {
  return {EightLanes(begin, end), EightLanes(begin - 8, end - 8)};
}
inline F32x16 LoadFirst(const float* p, int64_t n) {
  const Mask16 mask = LaneRange(0, static_cast<int>(n));
  return {_mm256_maskload_ps(p, _mm256_castps_si256(mask.low)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(mask.high))};
}
inline void StoreFirst(float* p, F32x16 x, int64_t n) {
  const Mask16 mask = LaneRange(0, static_cast<int>(n));
  _mm256_maskstore_ps(p, _mm256_castps_si256(mask.low), x.low);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(mask.high), x.high);
}

inline __m256i LoadEight(const uint16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline F32x16 LoadPairsFirst(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(LoadEight(p), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(LoadEight(p + 16), 16))};
}
inline F32x16 LoadPairsSecond(const uint16_t* p) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(LoadEight(p), upper)),
          _mm256_castsi256_ps(_mm256_and_si256(LoadEight(p + 16), upper))};
}

inline F32x16 Add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline F32x16 Sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline F32x16 Mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline F32x16 Div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline F32x16 Min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline F32x16 Abs(F32x16 a) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(bit, a.low), _mm256_andnot_ps(bit, a.high)};
}
inline F32x16 CopySign(F32x16 magnitude, F32x16 sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  const F32x16 m = Abs(magnitude);
  return {_mm256_or_ps(m.low, _mm256_and_ps(bit, sign.low)),
          _mm256_or_ps(m.high, _mm256_and_ps(bit, sign.high))};
}

inline Mask16 Less(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
}
inline F32x16 Select(Mask16 mask, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.low, yes.low, mask.low),
          _mm256_blendv_ps(no.high, yes.high, mask.high)};
}

inline F32x16 Round(F32x16 x) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, kMode), _mm256_round_ps(x.high, kMode)};
}
inline __m256 PowerOfTwo(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
inline F32x16 ScaleByPowerOfTwo(F32x16 x, F32x16 n) {
  return {_mm256_mul_ps(x.low, PowerOfTwo(n.low)), _mm256_mul_ps(x.high, PowerOfTwo(n.high))};
}

inline float ReduceAdd(F32x16 x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float ReduceMax(F32x16 x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline float FirstLane(F32x16 x) { return _mm_cvtss_f32(_mm256_castps256_ps128(x.low)); }

}  // namespace
}  // namespace millrace
