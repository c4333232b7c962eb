// Dot products of attention in portable C++: the twin that defines what dots_avx2.h and
// dots_avx512.h compute. After one of base/f32x16_*.h.
//
// Invariant: the three headers give the same bits, operation by operation. Products of bf16 are
// those of vdpbf16ps as the hardware was measured to compute them: two chained fused multiply-adds,
// the second of the pair first (docs/decisions/attention-bf16.md). The instruction takes subnormal
// numbers for zero; callers keep operands either 0 or at least kSmallestBf16 in magnitude, which
// makes every sum a multiple of 2^-114, so that none is ever subnormal.
#pragma once

#include <cstdint>
#include <cstring>

namespace millrace {
namespace {

// ---- bf16 ----

struct Bf16Pairs {
  F32x16 first, second;
};

// Sixteen neighbouring pairs.
inline Bf16Pairs LoadPairs(const uint16_t* p) { return {LoadPairsFirst(p), LoadPairsSecond(p)}; }
// One pair, sixteen times.
inline Bf16Pairs BroadcastPair(const uint16_t* p) {
  uint16_t pairs[32];
  for (int i = 0; i < 32; ++i) pairs[i] = p[i % 2];
  return LoadPairs(pairs);
}
// The pairs with one of the two set to zero.
inline Bf16Pairs OnlyFirst(Bf16Pairs x) { return {x.first, Set1(0.0f)}; }
inline Bf16Pairs OnlySecond(Bf16Pairs x) { return {Set1(0.0f), x.second}; }
// sum + a.second * b.second, then + a.first * b.first, each rounded once.
inline F32x16 DotPairs(F32x16 sum, Bf16Pairs a, Bf16Pairs b) {
  return Fma(a.first, b.first, Fma(a.second, b.second, sum));
}
// Stores sixteen bf16, rounded to nearest even, and returns what they are worth; no NaN.
inline F32x16 StoreBf16(uint16_t* p, F32x16 x) {
  F32x16 rounded;
  for (int i = 0; i < 16; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &x.lane[i], sizeof(bits));
    bits += 0x7fffu + ((bits >> 16) & 1u);
    p[i] = static_cast<uint16_t>(bits >> 16);
    bits &= 0xffff0000u;
    std::memcpy(&rounded.lane[i], &bits, sizeof(bits));
  }
  return rounded;
}

// ---- bytes ----

struct I32x16 {
  int32_t lane[16];
};

inline F32x16 ToFloat(I32x16 x) {
  F32x16 result;
  for (int i = 0; i < 16; ++i) result.lane[i] = static_cast<float>(x.lane[i]);
  return result;
}

// Sixteen keys, four dimensions of each: 64 bytes that stand for byte - 128.
struct ByteKeys {
  const uint8_t* bytes;
};
inline ByteKeys LoadKeys(const uint8_t* p) { return {p}; }
// The start of a sum of DotKeys against a query whose codes add up to query_sum.
inline I32x16 StartKeys(int32_t query_sum) {
  static_cast<void>(query_sum);
  return {};
}
// sum + the keys' four dimensions times the query's four codes, each from -127 to 127.
inline I32x16 DotKeys(I32x16 sum, ByteKeys keys, const int8_t* query) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 4; ++j) sum.lane[i] += (keys.bytes[4 * i + j] - 128) * query[j];
  }
  return sum;
}

// The weights of the 256 keys of a chunk, for one row, as integers from 0 to 32767.
struct WeightCodes {
  int16_t code[256];
};
inline void StoreCodes(WeightCodes& codes, int64_t key, F32x16 x) {
  for (int i = 0; i < 16; ++i) codes.code[key + i] = static_cast<int16_t>(x.lane[i]);
}

// Sixteen dimensions of four keys: 64 signed bytes.
struct ByteValues {
  const int8_t* bytes;
};
inline ByteValues LoadValues(const int8_t* p) { return {p}; }
struct WeightedSum {
  I32x16 sum = {};
};
// sum + the four values of each dimension times the weights of keys 4 quad .. 4 quad + 3.
inline void AddWeighted(WeightedSum& sum, ByteValues values, const WeightCodes& codes,
                        int64_t quad) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 4; ++j) {
      sum.sum.lane[i] += values.bytes[4 * i + j] * codes.code[4 * quad + j];
    }
  }
}
inline F32x16 ToFloat(const WeightedSum& sum) { return ToFloat(sum.sum); }

}  // namespace
}  // namespace millrace
