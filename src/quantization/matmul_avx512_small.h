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

// One block of 32: y [P][C] = fma(dot, d * the activations' scale, y), and then the minimums.
template <int P, int C, int kShift, class SmallHeaderType, class Source, class Ahead>
MILLRACE_INLINE void SmallBlock(const SmallHeaderType* header, const Source* source, int b,
                                const TileGroup& tile, const Ahead& ahead, __m512 y[P * C]) {
  ahead.Ask(b);
  __m512i acc[P * C];
  StartDots<P, C, kShift>(tile.minus_sums32 + b * C, acc);
  DotDwords<P, C, 8>([&](int p, int t)
                         MILLRACE_LAMBDA { return source[p].template Codes<0>(b, t); },
                     tile.values + b * 32 * C, acc);
#pragma GCC unroll 12
  for (int i = 0; i < P * C; ++i) {
    const __m512 d = _mm512_mul_ps(header[i / C].d[b], _mm512_set1_ps(tile.scales[b * C + i % C]));
    y[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[i]), d, y[i]);
    KeepHere(y[i]);
  }
  if constexpr (SmallHeaderType::kMins) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const __m512 minus_sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(tile.minus_sums32[b * C + c]));
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) {
        const __m512 m = _mm512_mul_ps(header[p].m[b], _mm512_set1_ps(tile.scales[b * C + c]));
        y[p * C + c] = _mm512_fnmadd_ps(minus_sum, m, y[p * C + c]);
      }
    }
  }
}

// A format of kGroupSize bytes per group that begins with the blocks' scales (and minimums); code
// w + 2^kShift stands for w.
template <class SmallHeaderType, int kShift, int64_t kGroupSize>
struct Small {
  using Header = SmallHeaderType;
  static constexpr int64_t kGroupBytes = kGroupSize;
  static constexpr auto kHint = _MM_HINT_T0;
  static constexpr bool kBytes = false;
  static constexpr int kSubBlocks = 8, kParts = 1;

  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    const uint8_t* p = GroupAt(a, group);
#pragma GCC unroll 8
    for (int b = 0; b < 8; ++b) header.d[b] = LoadHalves(p + 32 * b);
    if constexpr (Header::kMins) {
#pragma GCC unroll 8
      for (int b = 0; b < 8; ++b) header.m[b] = LoadHalves(p + kSmallMins + 32 * b);
    }
    header.blocks = BlocksOf(a, group);
  }
  template <int P, int C, class Source, class Ahead>
  MILLRACE_INLINE static void Group(const Header* header, const Source* source,
                                    const TileGroup& tile, const Ahead& ahead, float* y,
                                    int64_t y_stride) {
    __m512 sum[P * C];
#pragma GCC unroll 12
    for (int i = 0; i < P * C; ++i) sum[i] = _mm512_load_ps(y + i / C * y_stride + i % C * kLanes);
#pragma GCC unroll 1
    for (int b = 0; b < header[0].blocks; ++b) {
      SmallBlock<P, C, kShift>(header, source, b, tile, ahead, sum);
    }
#pragma GCC unroll 12
    for (int i = 0; i < P * C; ++i) _mm512_store_ps(y + i / C * y_stride + i % C * kLanes, sum[i]);
  }
};

}  // namespace
}  // namespace millrace
