// Q6_K on AVX-512 VNNI: codes 0..63 unsigned, the offset of 32 by the activations' sums, integer
// scales per 16.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

struct Q6_K {
  struct Header {
    __m512i scale[16];  // int32 per row
    __m512 d;
  };

  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + (a.groups * 32 + 63) / 64 * 64 + group * kQ6GroupBytes;
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    header.d = LoadHalves(a.panel + group * 32);
    const uint8_t* scales = GroupAt(a, group) + kQ6Scales;
#pragma GCC unroll 16
    for (int s = 0; s < 16; ++s) {
      header.scale[s] = _mm512_cvtepi8_epi32(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + s * kLanes)));
    }
  }

  static constexpr int64_t kLinesPerSubBlock = 4;  // 16 * 4 lines cover a group's 52

  // Dword t (0 to 7) of the 32 elements in quarter kQuarter of half h.
  struct Packed {
    const uint8_t* group;
    MILLRACE_INLINE void Prefetch(int sub_block) const {
      PrefetchLines<kLinesPerSubBlock, _MM_HINT_T1>(group + sub_block * kLinesPerSubBlock * 64);
    }
    template <int kQuarter>
    MILLRACE_INLINE __m512i Codes(int h, int t) const {
      const uint8_t* low_at = group + (h * 16 + kQuarter % 2 * 8 + t) * 64;
      const uint8_t* high_at = group + kQ6High + (h * 8 + t) * 64;
      const __m512i both = Load(low_at);
      const __m512i low = _mm512_and_si512(kQuarter < 2 ? both : _mm512_srli_epi32(both, 4),
                                           _mm512_set1_epi8(0x0f));
      __m512i high = Load(high_at);
      if (kQuarter == 0) high = _mm512_slli_epi32(high, 4);
      if (kQuarter == 1) high = _mm512_slli_epi32(high, 2);
      if (kQuarter == 3) high = _mm512_srli_epi32(high, 2);
      return _mm512_ternarylogic_epi32(high, _mm512_set1_epi8(0x30), low, 0xea);  // (a & b) | c
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group)};
  }

  struct Expanded : ExpandedCodes {
    template <int kQuarter>
    MILLRACE_INLINE __m512i Codes(int h, int t) const {
      return _mm512_load_si512(codes + (h * 32 + kQuarter * 8 + t) * 64);
    }
  };
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    const Packed source = PackedCodes(a, group);
    for (int h = 0; h < 2; ++h) {
      for (int t = 0; t < 8; ++t) {
        uint8_t* to = out + (h * 32 + t) * 64;
        _mm512_store_si512(to, source.Codes<0>(h, t));
        _mm512_store_si512(to + 512, source.Codes<1>(h, t));
        _mm512_store_si512(to + 1024, source.Codes<2>(h, t));
        _mm512_store_si512(to + 1536, source.Codes<3>(h, t));
      }
    }
    return out;
  }

  // The two sub-blocks of 16 in one quarter.
  template <int C, int kQuarter, class Source>
  MILLRACE_INLINE static void Quarter(const Header& header, const Source& source, int h,
                                      const TileGroup& tile, __m512i total[C]) {
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part) {
      const int s = 8 * h + 2 * kQuarter + part;
      if (s * kLinesPerSubBlock * 64 < kQ6GroupBytes) source.Prefetch(s);
      __m512i acc[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        acc[c] = _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums16[s * C + c]), 5);
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

  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    __m512i total[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) total[c] = _mm512_setzero_si512();
#pragma GCC unroll 1
    for (int h = 0; h < 2; ++h) {
      Quarter<C, 0>(header, source, h, tile, total);
      Quarter<C, 1>(header, source, h, tile, total);
      Quarter<C, 2>(header, source, h, tile, total);
      Quarter<C, 3>(header, source, h, tile, total);
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      AddGroup(y + c * kLanes, _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(total[c])),
               tile.scales[c]);
    }
  }
};

}  // namespace

namespace avx512 {
void PanelQ6_K(const PanelArgs& args) { IntegerPanel<Q6_K>(args); }
}  // namespace avx512

}  // namespace millrace
