// Dot products of attention with AVX-512 BF16 and VNNI; see dots_scalar.h, whose results these are.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace millrace {
namespace {

// ---- bf16 ----

struct Bf16Pairs {
  __m512i v;
};

inline int FourBytes(const void* p) {
  int bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return bits;
}

inline Bf16Pairs LoadPairs(const uint16_t* p) { return {_mm512_loadu_si512(p)}; }
inline Bf16Pairs BroadcastPair(const uint16_t* p) { return {_mm512_set1_epi32(FourBytes(p))}; }
inline Bf16Pairs OnlyFirst(Bf16Pairs x) {
  return {_mm512_and_si512(x.v, _mm512_set1_epi32(0xffff))};
}
inline Bf16Pairs OnlySecond(Bf16Pairs x) {
  return {_mm512_andnot_si512(_mm512_set1_epi32(0xffff), x.v)};
}
inline F32x16 DotPairs(F32x16 sum, Bf16Pairs a, Bf16Pairs b) {
  return {
      _mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}
inline F32x16 StoreBf16(uint16_t* p, F32x16 x) {
  const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), rounded);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16))};
}

// ---- bytes ----

struct I32x16 {
  __m512i v;
};

inline F32x16 ToFloat(I32x16 x) { return {_mm512_cvtepi32_ps(x.v)}; }

struct ByteKeys {
  __m512i v;
};
inline ByteKeys LoadKeys(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline I32x16 StartKeys(int32_t query_sum) { return {_mm512_set1_epi32(-128 * query_sum)}; }
inline I32x16 DotKeys(I32x16 sum, ByteKeys keys, const int8_t* query) {
  return {_mm512_dpbusd_epi32(sum.v, keys.v, _mm512_set1_epi32(FourBytes(query)))};
}

// Two planes of unsigned bytes: code = 128 high + low.
struct WeightCodes {
  alignas(64) uint8_t high[256];
  alignas(64) uint8_t low[256];
};
inline void StoreCodes(WeightCodes& codes, int64_t key, F32x16 x) {
  const __m512i code = _mm512_cvtps_epi32(x.v);
  const __m128i high = _mm512_cvtepi32_epi8(_mm512_srli_epi32(code, 7));
  const __m128i low = _mm512_cvtepi32_epi8(_mm512_and_si512(code, _mm512_set1_epi32(127)));
  _mm_store_si128(reinterpret_cast<__m128i*>(codes.high + key), high);
  _mm_store_si128(reinterpret_cast<__m128i*>(codes.low + key), low);
}

struct ByteValues {
  __m512i v;
};
inline ByteValues LoadValues(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
struct WeightedSum {
  __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();
};
inline void AddWeighted(WeightedSum& sum, ByteValues values, const WeightCodes& codes,
                        int64_t quad) {
  const __m512i high = _mm512_set1_epi32(FourBytes(codes.high + 4 * quad));
  const __m512i low = _mm512_set1_epi32(FourBytes(codes.low + 4 * quad));
  sum.high = _mm512_dpbusd_epi32(sum.high, high, values.v);
  sum.low = _mm512_dpbusd_epi32(sum.low, low, values.v);
}
inline F32x16 ToFloat(const WeightedSum& sum) {
  return ToFloat(I32x16{_mm512_add_epi32(_mm512_slli_epi32(sum.high, 7), sum.low)});
}

}  // namespace
}  // namespace millrace
