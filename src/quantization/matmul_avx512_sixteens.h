// What the formats with an integer scale per 16 share on AVX-512 VNNI (Q6_K, Q3_K, Q2_K): a group
// is two halves of four quarters of 32 elements, and a Source has Codes<quarter>(half, dword).
#pragma once

#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

struct SixteensHeader {
  __m512i scale[16];  // int32 per row
  __m512 d;
};

// The two sub-blocks of 16 in quarter kQuarter of half h. Code w + 2^kShift stands for w, or w for
// itself where kShift is 0.
template <int C, int kShift, int kQuarter, class Header, class Source>
MILLRACE_INLINE void Quarter(const Header& header, const Source& source, int h,
                             const TileGroup& tile, __m512i total[C]) {
#pragma GCC unroll 2
  for (int part = 0; part < 2; ++part) {
    const int s = 8 * h + 2 * kQuarter + part;
    source.Prefetch(s);
    __m512i acc[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      acc[c] = kShift == 0
                   ? _mm512_setzero_si512()
                   : _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums16[s * C + c]), kShift);
    }
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const __m512i codes = source.template Codes<kQuarter>(h, part * 4 + u);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        acc[c] = DotBroadcast(acc[c], codes, tile.values + 4 * ((s * 4 + u) * C + c));
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(acc[c], header.scale[s]));
    }
  }
}

// The dot products of a group of 256, times the integer scales.
template <int C, int kShift, class Header, class Source>
MILLRACE_INLINE void SixteensTotal(const Header& header, const Source& source,
                                   const TileGroup& tile, __m512i total[C]) {
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) total[c] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (int h = 0; h < 2; ++h) {
    Quarter<C, kShift, 0>(header, source, h, tile, total);
    Quarter<C, kShift, 1>(header, source, h, tile, total);
    Quarter<C, kShift, 2>(header, source, h, tile, total);
    Quarter<C, kShift, 3>(header, source, h, tile, total);
  }
}

template <int C, int kShift, class Source>
MILLRACE_INLINE void SixteensGroup(const SixteensHeader& header, const Source& source,
                                   const TileGroup& tile, float* y) {
  __m512i total[C];
  SixteensTotal<C, kShift>(header, source, tile, total);
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    AddGroup(y + c * kLanes, _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(total[c])), tile.scales[c]);
  }
}

// SixteensGroup<8, kShift> for two panels.
template <int kShift>
MILLRACE_INLINE void SixteensGroupPair(const SixteensHeader& h0, const SixteensHeader& h1,
                                       const uint8_t* w0, const uint8_t* w1, const TileGroup& tile,
                                       const LinesAhead& ahead, float* y0, float* y1) {
  __m512i total[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) total[i] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (int s = 0; s < 16; ++s) {
    ahead.Ask(s, 16);
    __m512i acc[16];
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      acc[c] = _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums16[s * 8 + c]), kShift);
      acc[8 + c] = acc[c];
    }
    DotTwoPanels<4>(w0 + s * 256, w1 + s * 256, tile.values + s * 16 * 8, acc);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(acc[c], h0.scale[s]));
      total[8 + c] = _mm512_add_epi32(total[8 + c], _mm512_mullo_epi32(acc[8 + c], h1.scale[s]));
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < 8; ++c) {
    AddGroup(y0 + c * kLanes, _mm512_mul_ps(h0.d, _mm512_cvtepi32_ps(total[c])), tile.scales[c]);
    AddGroup(y1 + c * kLanes, _mm512_mul_ps(h1.d, _mm512_cvtepi32_ps(total[8 + c])),
             tile.scales[c]);
  }
}

struct SixteensExpanded : ExpandedCodes {
  template <int kQuarter>
  MILLRACE_INLINE __m512i Codes(int h, int t) const {
    return _mm512_load_si512(codes + (h * 32 + kQuarter * 8 + t) * 64);
  }
};

template <class Source>
MILLRACE_INLINE const uint8_t* ExpandSixteens(const Source& source, uint8_t* out) {
  for (int h = 0; h < 2; ++h) {
    for (int t = 0; t < 8; ++t) {
      uint8_t* to = out + (h * 32 + t) * 64;
      _mm512_store_si512(to, source.template Codes<0>(h, t));
      _mm512_store_si512(to + 512, source.template Codes<1>(h, t));
      _mm512_store_si512(to + 1024, source.template Codes<2>(h, t));
      _mm512_store_si512(to + 1536, source.template Codes<3>(h, t));
    }
  }
  return out;
}

}  // namespace
}  // namespace millrace
