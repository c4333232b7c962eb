// Dot products of attention with AVX2, and with AVX-VNNI where the file is compiled for it; see
// dots_scalar.h, whose results these are.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace millrace {
namespace {

// ---- bf16 ----

struct Bf16Pairs {
  F32x16 first, second;
};

inline int FourBytes(const void* p) {
  int bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return bits;
}

inline Bf16Pairs LoadPairs(const uint16_t* p) { return {LoadPairsFirst(p), LoadPairsSecond(p)}; }
inline Bf16Pairs BroadcastPair(const uint16_t* p) {
  const __m256i pair = _mm256_set1_epi32(FourBytes(p));
  const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
  const __m256 second =
      _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  return {{first, first}, {second, second}};
}
inline Bf16Pairs OnlyFirst(Bf16Pairs x) { return {x.first, Set1(0.0f)}; }
inline Bf16Pairs OnlySecond(Bf16Pairs x) { return {Set1(0.0f), x.second}; }
inline F32x16 DotPairs(F32x16 sum, Bf16Pairs a, Bf16Pairs b) {
  return Fma(a.first, b.first, Fma(a.second, b.second, sum));
}

inline __m256i RoundToBf16(__m256 x) {  // in the upper halves of the lanes; the lower ones are rest
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
}
inline F32x16 StoreBf16(uint16_t* p, F32x16 x) {
  const __m256i low = RoundToBf16(x.low), high = RoundToBf16(x.high);
  const __m256i packed =
      _mm256_packus_epi32(_mm256_srli_epi32(low, 16), _mm256_srli_epi32(high, 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(low, upper)),
          _mm256_castsi256_ps(_mm256_and_si256(high, upper))};
}

// ---- bytes ----

struct I32x16 {
  __m256i low, high;
};

inline F32x16 ToFloat(I32x16 x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }

inline __m256i LoadBytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

struct ByteKeys {
  __m256i low, high;
};

#ifdef __AVXVNNI__

inline ByteKeys LoadKeys(const uint8_t* p) { return {LoadBytes(p), LoadBytes(p + 32)}; }
inline I32x16 StartKeys(int32_t query_sum) {
  const __m256i start = _mm256_set1_epi32(-128 * query_sum);
  return {start, start};
}
inline I32x16 DotKeys(I32x16 sum, ByteKeys keys, const int8_t* query) {
  const __m256i q = _mm256_set1_epi32(FourBytes(query));
  return {_mm256_dpbusd_avx_epi32(sum.low, keys.low, q),
          _mm256_dpbusd_avx_epi32(sum.high, keys.high, q)};
}

// Two planes of unsigned bytes: code = 128 high + low.
struct WeightCodes {
  alignas(32) uint8_t high[256];
  alignas(32) uint8_t low[256];
};
inline void StoreSixteenBytes(uint8_t* p, __m256i low, __m256i high) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
  const __m128i bytes =
      _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_store_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline void StoreCodes(WeightCodes& codes, int64_t key, F32x16 x) {
  const __m256i low = _mm256_cvtps_epi32(x.low), high = _mm256_cvtps_epi32(x.high);
  const __m256i seven = _mm256_set1_epi32(127);
  StoreSixteenBytes(codes.high + key, _mm256_srli_epi32(low, 7), _mm256_srli_epi32(high, 7));
  StoreSixteenBytes(codes.low + key, _mm256_and_si256(low, seven), _mm256_and_si256(high, seven));
}

struct ByteValues {
  __m256i low, high;
};
inline ByteValues LoadValues(const int8_t* p) { return {LoadBytes(p), LoadBytes(p + 32)}; }
struct WeightedSum {
  I32x16 high = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  I32x16 low = {_mm256_setzero_si256(), _mm256_setzero_si256()};
};
inline void AddWeighted(WeightedSum& sum, ByteValues values, const WeightCodes& codes,
                        int64_t quad) {
  const __m256i high = _mm256_set1_epi32(FourBytes(codes.high + 4 * quad));
  const __m256i low = _mm256_set1_epi32(FourBytes(codes.low + 4 * quad));
  sum.high = {_mm256_dpbusd_avx_epi32(sum.high.low, high, values.low),
              _mm256_dpbusd_avx_epi32(sum.high.high, high, values.high)};
  sum.low = {_mm256_dpbusd_avx_epi32(sum.low.low, low, values.low),
             _mm256_dpbusd_avx_epi32(sum.low.high, low, values.high)};
}
inline F32x16 ToFloat(const WeightedSum& sum) {
  const auto join = [](__m256i high, __m256i low) {
    return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low);
  };
  return ToFloat(I32x16{join(sum.high.low, sum.low.low), join(sum.high.high, sum.low.high)});
}

#else

// Signed keys. maddubs multiplies unsigned by signed and saturates at 16 bits: the sign of a key
// goes to the query, and 2 * 128 * 127 fits.
inline ByteKeys LoadKeys(const uint8_t* p) {
  const __m256i bias = _mm256_set1_epi8(-128);
  return {_mm256_xor_si256(LoadBytes(p), bias), _mm256_xor_si256(LoadBytes(p + 32), bias)};
}
inline I32x16 StartKeys(int32_t query_sum) {
  static_cast<void>(query_sum);
  return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
inline __m256i DotEightKeys(__m256i sum, __m256i keys, __m256i query) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(keys), _mm256_sign_epi8(query, keys));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline I32x16 DotKeys(I32x16 sum, ByteKeys keys, const int8_t* query) {
  const __m256i q = _mm256_set1_epi32(FourBytes(query));
  return {DotEightKeys(sum.low, keys.low, q), DotEightKeys(sum.high, keys.high, q)};
}

// Of each four keys 0, 2, 1, 3: the order in which ByteValues has them.
struct WeightCodes {
  alignas(32) int16_t code[256];
};
inline void StoreCodes(WeightCodes& codes, int64_t key, F32x16 x) {
  const __m256i packed = _mm256_permute4x64_epi64(
      _mm256_packs_epi32(_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)), 0xd8);
  const __m256i ordered = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(packed, 0xd8), 0xd8);
  _mm256_store_si256(reinterpret_cast<__m256i*>(codes.code + key), ordered);
}

struct ByteValues {
  I32x16 even, odd;  // keys 0 and 2, keys 1 and 3 of each dimension, as 16 bits
};
inline __m256i EvenBytes(__m256i x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
inline __m256i OddBytes(__m256i x) { return _mm256_srai_epi16(x, 8); }
inline ByteValues LoadValues(const int8_t* p) {
  const __m256i low = LoadBytes(p), high = LoadBytes(p + 32);
  return {{EvenBytes(low), EvenBytes(high)}, {OddBytes(low), OddBytes(high)}};
}
struct WeightedSum {
  I32x16 sum = {_mm256_setzero_si256(), _mm256_setzero_si256()};
};
inline void AddWeighted(WeightedSum& sum, ByteValues values, const WeightCodes& codes,
                        int64_t quad) {
  const __m256i even = _mm256_set1_epi32(FourBytes(codes.code + 4 * quad));
  const __m256i odd = _mm256_set1_epi32(FourBytes(codes.code + 4 * quad + 2));
  const auto add = [&](__m256i old, __m256i first, __m256i second) {
    return _mm256_add_epi32(
        old, _mm256_add_epi32(_mm256_madd_epi16(first, even), _mm256_madd_epi16(second, odd)));
  };
  sum.sum = {add(sum.sum.low, values.even.low, values.odd.low),
             add(sum.sum.high, values.even.high, values.odd.high)};
}
inline F32x16 ToFloat(const WeightedSum& sum) { return ToFloat(sum.sum); }

#endif

}  // namespace
}  // namespace millrace
