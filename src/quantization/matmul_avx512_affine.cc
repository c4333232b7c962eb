// Q4_K and Q5_K on AVX-512 VNNI: integer scales per 32, one float scale per 256, minimums by the
// activations' sums.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

struct AffineHeader {
  __m512i scale[8];  // int32 per row
  __m512i mins[4];   // pairs of int16 per row: sub-blocks 0 2, 1 3, 4 6, 5 7
  __m512 d;
  __m512 dmin;
};

// The twelve scale bytes of a row are three dwords, one row per lane: the usual bit surgery,
// sixteen rows at once.
MILLRACE_INLINE void ExpandAffineHeader(const uint8_t* group, AffineHeader& header) {
  header.d = LoadHalves(group + kAffineD);
  header.dmin = LoadHalves(group + kAffineMin);
  const __m512i s0 = Load(group + kAffineScales);
  const __m512i s1 = Load(group + kAffineScales + 64);
  const __m512i s2 = Load(group + kAffineScales + 128);
  const __m512i six = _mm512_set1_epi8(0x3f), four = _mm512_set1_epi8(0x0f);
  const __m512i top = _mm512_set1_epi8(0x30);
  const __m512i scales[2] = {
      _mm512_and_si512(s0, six),
      _mm512_or_si512(_mm512_and_si512(s2, four), _mm512_and_si512(_mm512_srli_epi32(s0, 2), top))};
  const __m512i mins[2] = {_mm512_and_si512(s1, six),
                           _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(s2, 4), four),
                                           _mm512_and_si512(_mm512_srli_epi32(s1, 2), top))};
  const __m512i byte = _mm512_set1_epi32(0xff), pair = _mm512_set1_epi32(0x00ff00ff);
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    header.scale[4 * h] = _mm512_and_si512(scales[h], byte);
    header.scale[4 * h + 1] = _mm512_and_si512(_mm512_srli_epi32(scales[h], 8), byte);
    header.scale[4 * h + 2] = _mm512_and_si512(_mm512_srli_epi32(scales[h], 16), byte);
    header.scale[4 * h + 3] = _mm512_srli_epi32(scales[h], 24);
    header.mins[2 * h] = _mm512_and_si512(mins[h], pair);
    header.mins[2 * h + 1] = _mm512_and_si512(_mm512_srli_epi32(mins[h], 8), pair);
  }
}

// y += the scaled sums of one group less its minimums.
template <int P, int C>
MILLRACE_INLINE void AddAffineGroup(const AffineHeader* header, const TileGroup& tile,
                                    const __m512i total[P * C], float* y, int64_t y_stride) {
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    __m512i mins[P];
    Zero<P>(mins);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i sums = BroadcastDword(tile.pairs + 2 * (i * C + c));
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) {
        mins[p] = _mm512_dpwssd_epi32(mins[p], header[p].mins[i], sums);
      }
    }
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p) {
      const __m512 g =
          _mm512_fnmadd_ps(header[p].dmin, _mm512_cvtepi32_ps(mins[p]),
                           _mm512_mul_ps(header[p].d, _mm512_cvtepi32_ps(total[p * C + c])));
      AddGroup(y + p * y_stride + c * kLanes, g, tile.scales[c]);
    }
  }
}

template <int P, int C, class CodesAt, class Ahead>
MILLRACE_INLINE void AffineSubBlock(const AffineHeader* header, const CodesAt& codes_at, int s,
                                    const TileGroup& tile, const Ahead& ahead,
                                    __m512i total[P * C]) {
  ahead.Ask(s);
  __m512i acc[P * C];
  Zero<P * C>(acc);
  DotDwords<P, C, 8>(codes_at, tile.values + s * 32 * C, acc);
  AddScaled<P, C>(header, s, acc, total);
}

template <int P, int C, class Source, class Ahead>
MILLRACE_INLINE void AffineGroup(const AffineHeader* header, const Source* source,
                                 const TileGroup& tile, const Ahead& ahead, float* y,
                                 int64_t y_stride) {
  __m512i total[P * C];
  Zero<P * C>(total);
#pragma GCC unroll 1
  for (int j = 0; j < 4; ++j) {
    AffineSubBlock<P, C>(
        header, [&](int p, int t) MILLRACE_LAMBDA { return source[p].template Codes<0>(j, t); },
        2 * j, tile, ahead, total);
    AffineSubBlock<P, C>(
        header, [&](int p, int t) MILLRACE_LAMBDA { return source[p].template Codes<1>(j, t); },
        2 * j + 1, tile, ahead, total);
  }
  AddAffineGroup<P, C>(header, tile, total, y, y_stride);
}

struct Q4_K {
  using Header = AffineHeader;
  static constexpr int64_t kGroupBytes = kQ4KGroupBytes;
  static constexpr auto kHint = _MM_HINT_T0;
  static constexpr bool kBytes = false;
  static constexpr int kSubBlocks = 8, kParts = 2;

  struct Packed {
    const uint8_t* codes;
    template <int kHalf>
    MILLRACE_INLINE __m512i Codes(int j, int t) const {
      const __m512i both = Load(codes + (j * 8 + t) * 64);
      return _mm512_and_si512(kHalf == 0 ? both : _mm512_srli_epi32(both, 4),
                              _mm512_set1_epi8(0x0f));
    }
  };

  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kAffineRest};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandAffineHeader(GroupAt(a, group), header);
  }
  template <int P, int C, class Source, class Ahead>
  MILLRACE_INLINE static void Group(const Header* header, const Source* source,
                                    const TileGroup& tile, const Ahead& ahead, float* y,
                                    int64_t y_stride) {
    AffineGroup<P, C>(header, source, tile, ahead, y, y_stride);
  }
};

struct Q5_K : Q4_K {
  static constexpr int64_t kGroupBytes = kQ5KGroupBytes;
  static constexpr auto kHint = _MM_HINT_T1;

  struct Packed {
    const uint8_t* high;
    const uint8_t* codes;
    template <int kHalf>
    MILLRACE_INLINE __m512i Codes(int j, int t) const {
      const __m512i both = Load(codes + (j * 8 + t) * 64);
      const __m512i low =
          _mm512_and_si512(kHalf == 0 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
      // Bit 2j + kHalf of every byte comes to bit 4; what crosses into other bytes is masked off.
      const __m512i count = _mm512_set1_epi32((4 - 2 * j - kHalf) & 31);
      const __m512i bits = _mm512_rolv_epi32(Load(high + t * 64), count);
      return _mm512_ternarylogic_epi32(bits, _mm512_set1_epi8(0x10), low, 0xea);  // (a & b) | c
    }
  };

  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    const uint8_t* rest = GroupAt(a, group) + kAffineRest;
    return {rest, rest + 512};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandAffineHeader(GroupAt(a, group), header);
  }
};

}  // namespace

namespace avx512 {
void PanelsQ4_K(const PanelArgs& args) { IntegerPanels<Q4_K>(args); }
void PanelsQ5_K(const PanelArgs& args) { IntegerPanels<Q5_K>(args); }
}  // namespace avx512

}  // namespace millrace
