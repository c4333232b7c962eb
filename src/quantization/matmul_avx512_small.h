// What the formats with a float scale per 32 share on AVX-512 VNNI: unsigned codes, the offset by
// the activations' sums.
#pragma once

#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

struct SmallHeader {
  static constexpr bool kMins = false;
  __m512 d[8];
  int blocks;  // in this group: 8 but for the last
};

struct SmallMinHeader : SmallHeader {
  static constexpr bool kMins = true;
  __m512 m[8];
};

MILLRACE_INLINE int BlocksOf(const PanelArgs& a, int64_t group) {
  const int64_t rest = a.columns / 32 - group * 8;
  return static_cast<int>(rest < 8 ? rest : 8);
}

MILLRACE_INLINE void ExpandSmallHeader(const PanelArgs& a, int64_t group, int64_t group_bytes,
                                       SmallHeader& header) {
  const uint8_t* p = a.panel + group * group_bytes;
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b) header.d[b] = LoadHalves(p + 32 * b);
  header.blocks = BlocksOf(a, group);
}

MILLRACE_INLINE void ExpandSmallMinHeader(const PanelArgs& a, int64_t group, int64_t group_bytes,
                                          SmallMinHeader& header) {
  ExpandSmallHeader(a, group, group_bytes, header);
  const uint8_t* p = a.panel + group * group_bytes + kSmallMins;
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b) header.m[b] = LoadHalves(p + 32 * b);
}

constexpr int kNoOffset = -1;

// Code w + 2^kShift stands for w, so the dot product starts from -2^kShift * sum(x); with kNoOffset
// from 0.
template <int C, int kShift, class SmallHeaderType, class Source>
MILLRACE_INLINE void SmallGroup(const SmallHeaderType& header, const Source& source,
                                const TileGroup& tile, float* y) {
  constexpr int kChains = C <= 2 ? 2 : 1;
  __m512 g[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) g[c] = _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int b = 0; b < header.blocks; ++b) {
    source.Prefetch(b);
    __m512i acc[kChains * C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      acc[c] = kShift == kNoOffset
                   ? _mm512_setzero_si512()
                   : _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums32[b * C + c]),
                                       kShift == kNoOffset ? 0 : kShift);
      if (kChains == 2) acc[(kChains - 1) * C + c] = _mm512_setzero_si512();
    }
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) {
      const __m512i codes = source.Codes(b, t);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const int chain = t % kChains * C + c;
        acc[chain] = DotBroadcast(acc[chain], codes, tile.values + 4 * ((b * 8 + t) * C + c));
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m512i dot =
          kChains == 2 ? _mm512_add_epi32(acc[c], acc[(kChains - 1) * C + c]) : acc[c];
      g[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), header.d[b], g[c]);
      if constexpr (SmallHeaderType::kMins) {
        const __m512i minus_sum = _mm512_set1_epi32(tile.minus_sums32[b * C + c]);
        g[c] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(minus_sum), header.m[b], g[c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) AddGroup(y + c * kLanes, g[c], tile.scales[c]);
}

// SmallGroup<8, kShift> for two panels.
template <int kShift, class SmallHeaderType>
MILLRACE_INLINE void SmallGroupPair(const SmallHeaderType& h0, const SmallHeaderType& h1,
                                    const uint8_t* w0, const uint8_t* w1, const TileGroup& tile,
                                    const LinesAhead& ahead, float* y0, float* y1) {
  static_assert(!SmallHeaderType::kMins && kShift != kNoOffset);
  __m512 g[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) g[i] = _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int b = 0; b < h0.blocks; ++b) {
    ahead.Ask(b, h0.blocks);
    __m512i acc[16];
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      acc[c] = _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums32[b * 8 + c]), kShift);
      acc[8 + c] = acc[c];
    }
    DotTwoPanels<8>(w0 + b * 512, w1 + b * 512, tile.values + b * 32 * 8, acc);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      g[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[c]), h0.d[b], g[c]);
      g[8 + c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[8 + c]), h1.d[b], g[8 + c]);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < 8; ++c) {
    AddGroup(y0 + c * kLanes, g[c], tile.scales[c]);
    AddGroup(y1 + c * kLanes, g[8 + c], tile.scales[c]);
  }
}

struct SmallExpanded : ExpandedCodes {
  MILLRACE_INLINE __m512i Codes(int b, int t) const { return Load(codes + (b * 8 + t) * 64); }
};

// Unpacks the codes of a group to bytes.
template <class Source>
MILLRACE_INLINE const uint8_t* ExpandSmallCodes(const PanelArgs& a, int64_t group,
                                                const Source& source, uint8_t* out) {
  for (int b = 0; b < BlocksOf(a, group); ++b) {
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) _mm512_store_si512(out + (b * 8 + t) * 64, source.Codes(b, t));
  }
  return out;
}

}  // namespace
}  // namespace millrace
