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
struct Q2_K : Sixteens<kNoOffset> {
  static constexpr int64_t kGroupBytes = kQ2KGroupBytes;
  struct Header : SixteensHeader {
    __m512i min[16];  // int32 per row, below 16: as a pair of int16, the high one is zero
    __m512 dmin;
  };
  struct Packed {
    static constexpr bool kInOrder = false;
    const uint8_t* group;
    template <int kQuarter>
    MILLRACE_INLINE __m512i Codes(int h, int t) const {
      return Crumbs<kQuarter>(group + kQ2Codes, h, t);
    }
  };
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group)};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    const uint8_t* p = GroupAt(a, group);
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
  template <int P, int C, class Source, class Ahead>
  MILLRACE_INLINE static void Group(const Header* header, const Source* source,
                                    const TileGroup& tile, const Ahead& ahead, float* y,
                                    int64_t y_stride) {
    __m512i total[P * C];
    SixteensTotal<P, C, kNoOffset>(header, source, tile, ahead, total);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      // Of a negated sum over 16, the low half is the sum and the high half meets a zero.
      __m512i minus_mins[P];
      Zero<P>(minus_mins);
#pragma GCC unroll 16
      for (int s = 0; s < 16; ++s) {
        const __m512i minus_sum = BroadcastDword(tile.minus_sums16 + s * C + c);
#pragma GCC unroll 3
        for (int p = 0; p < P; ++p) {
          minus_mins[p] = _mm512_dpwssd_epi32(minus_mins[p], header[p].min[s], minus_sum);
        }
      }
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) {
        const __m512 g =
            _mm512_fmadd_ps(header[p].dmin, _mm512_cvtepi32_ps(minus_mins[p]),
                            _mm512_mul_ps(header[p].d, _mm512_cvtepi32_ps(total[p * C + c])));
        AddGroup(y + p * y_stride + c * kLanes, g, tile.scales[c]);
      }
    }
  }
};

// Codes 0 to 7 less 4, scales of 6 bits less 32.
struct Q3_K : Sixteens<2> {
  static constexpr int64_t kGroupBytes = kQ3KGroupBytes;
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + (a.groups * 32 + 63) / 64 * 64 + group * kQ3KGroupBytes;
  }
  struct Packed {
    static constexpr bool kInOrder = false;
    const uint8_t* group;
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
};

}  // namespace

namespace avx512 {
void PanelsQ2_K(const PanelArgs& args) { IntegerPanels<Q2_K>(args); }
void PanelsQ3_K(const PanelArgs& args) { IntegerPanels<Q3_K>(args); }
}  // namespace avx512

}  // namespace millrace
