// What the formats with an integer scale per 16 share on AVX-512 VNNI (Q6_K, Q3_K, Q2_K): a group
// is two halves of four quarters of 32 elements, and a source has Codes<quarter>(half, dword).
#pragma once

#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

struct SixteensHeader {
  __m512i scale[16];  // int32 per row
  __m512 d;
};

template <int P, int C, int kShift, class Header, class CodesAt, class Ahead>
MILLRACE_INLINE void SixteensSubBlock(const Header* header, const CodesAt& codes_at, int s,
                                      const TileGroup& tile, const Ahead& ahead,
                                      __m512i total[P * C]) {
  ahead.Ask(s);
  __m512i acc[P * C];
  StartDots<P, C, kShift>(tile.minus_sums16 + s * C, acc);
  DotDwords<P, C, 4>(codes_at, tile.values + s * 16 * C, acc);
  AddScaled<P, C>(header, s, acc, total);
}

// The two sub-blocks of quarter kQuarter of half h.
template <int P, int C, int kShift, int kQuarter, class Header, class Source, class Ahead>
MILLRACE_INLINE void SixteensQuarter(const Header* header, const Source* source, int h,
                                     const TileGroup& tile, const Ahead& ahead,
                                     __m512i total[P * C]) {
#pragma GCC unroll 2
  for (int part = 0; part < 2; ++part) {
    SixteensSubBlock<P, C, kShift>(
        header,
        [&](int p, int t)
            MILLRACE_LAMBDA { return source[p].template Codes<kQuarter>(h, 4 * part + t); },
        8 * h + 2 * kQuarter + part, tile, ahead, total);
  }
}

// The dot products of a group of 256, times the integer scales.
template <int P, int C, int kShift, class Header, class Source, class Ahead>
MILLRACE_INLINE void SixteensTotal(const Header* header, const Source* source,
                                   const TileGroup& tile, const Ahead& ahead,
                                   __m512i total[P * C]) {
  Zero<P * C>(total);
  if constexpr (Source::kInOrder) {
#pragma GCC unroll 1
    for (int s = 0; s < 16; ++s) {
      SixteensSubBlock<P, C, kShift>(
          header, [&](int p, int t) MILLRACE_LAMBDA { return source[p].Dword(4 * s + t); }, s, tile,
          ahead, total);
    }
  } else {
#pragma GCC unroll 1
    for (int h = 0; h < 2; ++h) {
      SixteensQuarter<P, C, kShift, 0>(header, source, h, tile, ahead, total);
      SixteensQuarter<P, C, kShift, 1>(header, source, h, tile, ahead, total);
      SixteensQuarter<P, C, kShift, 2>(header, source, h, tile, ahead, total);
      SixteensQuarter<P, C, kShift, 3>(header, source, h, tile, ahead, total);
    }
  }
}

// A format whose code w + 2^kShift stands for w, without minimums.
template <int kShift>
struct Sixteens {
  using Header = SixteensHeader;
  static constexpr auto kHint = _MM_HINT_T1;
  static constexpr bool kBytes = false;
  static constexpr int kSubBlocks = 16, kParts = 4;

  template <int P, int C, class Source, class Ahead>
  MILLRACE_INLINE static void Group(const Header* header, const Source* source,
                                    const TileGroup& tile, const Ahead& ahead, float* y,
                                    int64_t y_stride) {
    __m512i total[P * C];
    SixteensTotal<P, C, kShift>(header, source, tile, ahead, total);
#pragma GCC unroll 12
    for (int i = 0; i < P * C; ++i) {
      AddGroup(y + i / C * y_stride + i % C * kLanes,
               _mm512_mul_ps(header[i / C].d, _mm512_cvtepi32_ps(total[i])), tile.scales[i % C]);
    }
  }
};

}  // namespace
}  // namespace millrace
