// Q2_K and Q3_K on AVX-512 VNNI; see matmul_avx512_sixteens.h.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_sixteens.h"

namespace millrace {
namespace {

// Two bits of dword t of half h, those of quarter kQuarter.
template <int kQuarter>
MILLRACE_INLINE __m512i Crumbs(const uint8_t* codes, int h, int t) {
  const __m512i all = Load(codes + (h * 8 + t) * 64);
  return _mm512_and_si512(kQuarter == 0 ? all : _mm512_srli_epi32(all, 2 * kQuarter),
                          _mm512_set1_epi8(3));
}

// Codes 0 to 3 and minimums per 16.
struct Q2_K {
  struct Header : SixteensHeader {
    __m512i min[16];  // int32 per row, below 16: as a pair of int16, the high one is zero
    __m512 dmin;
  };
  using Expanded = SixteensExpanded;
  struct Packed {
    const uint8_t* group;
    // 16 * 2 lines cover a group's 21.
    MILLRACE_INLINE void Prefetch(int sub_block) const {
      if (sub_block * 2 * 64 < kQ2KGroupBytes) {
        PrefetchLines<2, _MM_HINT_T1>(group + sub_block * 2 * 64);
      }
    }
    template <int kQuarter>
    MILLRACE_INLINE __m512i Codes(int h, int t) const {
      return Crumbs<kQuarter>(group + kQ2Codes, h, t);
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {a.panel + group * kQ2KGroupBytes};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    const uint8_t* p = a.panel + group * kQ2KGroupBytes;
    header.d = LoadHalves(p + kAffineD);
    header.dmin = LoadHalves(p + kAffineMin);
#pragma GCC unroll 16
    for (int s = 0; s < 16; ++s) {
      const __m512i both = _mm512_cvtepu8_epi32(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + kQ2Scales + s * kLanes)));
      header.scale[s] = _mm512_and_si512(both, _mm512_set1_epi32(15));
      header.min[s] = _mm512_srli_epi32(both, 4);
    }
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSixteens(PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    __m512i total[C];
    SixteensTotal<C, 0>(header, source, tile, total);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      // Of a negated sum over 16, the low half is the sum and the high half meets a zero.
      __m512i minus_mins = _mm512_setzero_si512();
#pragma GCC unroll 16
      for (int s = 0; s < 16; ++s) {
        minus_mins =
            DotPairsBroadcast(minus_mins, header.min[s],
                              reinterpret_cast<const int16_t*>(tile.minus_sums16 + s * C + c));
      }
      const __m512 g = _mm512_fmadd_ps(header.dmin, _mm512_cvtepi32_ps(minus_mins),
                                       _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(total[c])));
      AddGroup(y + c * kLanes, g, tile.scales[c]);
    }
  }
};

// Codes 0 to 7 less 4, scales of 6 bits less 32.
struct Q3_K {
  using Header = SixteensHeader;
  static constexpr int64_t kGroupBytes = kQ3KGroupBytes;
  using Expanded = SixteensExpanded;
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + (a.groups * 32 + 63) / 64 * 64 + group * kQ3KGroupBytes;
  }
  struct Packed {
    const uint8_t* group;
    // 16 * 2 lines cover a group's 27.
    MILLRACE_INLINE void Prefetch(int sub_block) const {
      if (sub_block * 2 * 64 < kQ3KGroupBytes) {
        PrefetchLines<2, _MM_HINT_T1>(group + sub_block * 2 * 64);
      }
    }
    template <int kQuarter>
    MILLRACE_INLINE __m512i Codes(int h, int t) const {
      // Bit 4h + kQuarter of every byte comes to bit 2; what crosses into others is masked off.
      const __m512i count = _mm512_set1_epi32((2 - 4 * h - kQuarter) & 31);
      const __m512i high = _mm512_rolv_epi32(Load(group + t * 64), count);
      return _mm512_ternarylogic_epi32(high, _mm512_set1_epi8(4),
                                       Crumbs<kQuarter>(group + kQ3Codes, h, t),
                                       0xea);  // (a & b) | c
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group)};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    header.d = LoadHalves(a.panel + group * 32);
    const uint8_t* p = GroupAt(a, group) + kQ3Scales;
    const __m512i four = _mm512_set1_epi8(0x0f), top = _mm512_set1_epi8(0x30);
    const __m512i s0 = Load(p), s1 = Load(p + 64), s2 = Load(p + 128);
    const __m512i low[4] = {_mm512_and_si512(s0, four), _mm512_and_si512(s1, four),
                            _mm512_and_si512(_mm512_srli_epi32(s0, 4), four),
                            _mm512_and_si512(_mm512_srli_epi32(s1, 4), four)};
    // Bits 2i and 2i + 1 of every byte of s2 come to bits 4 and 5.
    const __m512i high[4] = {_mm512_slli_epi32(s2, 4), _mm512_slli_epi32(s2, 2), s2,
                             _mm512_srli_epi32(s2, 2)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i bytes = _mm512_sub_epi8(_mm512_or_si512(low[i], _mm512_and_si512(high[i], top)),
                                            _mm512_set1_epi8(32));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        header.scale[4 * i + j] =
            _mm512_srai_epi32(_mm512_slli_epi32(bytes, static_cast<unsigned>(24 - 8 * j)), 24);
      }
    }
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSixteens(PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SixteensGroup<C, 2>(header, source, tile, y);
  }
  MILLRACE_INLINE static void GroupPair(const Header& h0, const Header& h1, const uint8_t* w0,
                                        const uint8_t* w1, const TileGroup& tile,
                                        const LinesAhead& ahead, float* y0, float* y1) {
    SixteensGroupPair<2>(h0, h1, w0, w1, tile, ahead, y0, y1);
  }
};

}  // namespace

namespace avx512 {
void PanelQ2_K(const PanelArgs& args) { IntegerPanel<Q2_K>(args); }
void PanelQ3_K(const PanelArgs& args) { IntegerPanel<Q3_K>(args); }
void PairQ3_K(const PanelArgs& args) { IntegerPair<Q3_K>(args); }
}  // namespace avx512

}  // namespace millrace
