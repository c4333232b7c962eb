// Q6_K on AVX-512 VNNI: codes 0..63 unsigned, the offset of 32 by the activations' sums, integer
// scales per 16.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_sixteens.h"

namespace millrace {
namespace {

struct Q6_K {
  using Header = SixteensHeader;
  static constexpr int64_t kGroupBytes = kQ6GroupBytes;

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
      const int64_t at = sub_block * kLinesPerSubBlock * 64;
      if (at < kQ6GroupBytes) PrefetchLines<kLinesPerSubBlock, _MM_HINT_T1>(group + at);
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

  using Expanded = SixteensExpanded;
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSixteens(PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SixteensGroup<C, 5>(header, source, tile, y);
  }
  MILLRACE_INLINE static void GroupPair(const Header& h0, const Header& h1, const uint8_t* w0,
                                        const uint8_t* w1, const TileGroup& tile,
                                        const LinesAhead& ahead, float* y0, float* y1) {
    SixteensGroupPair<5>(h0, h1, w0, w1, tile, ahead, y0, y1);
  }
};

}  // namespace

namespace avx512 {
void PanelQ6_K(const PanelArgs& args) { IntegerPanel<Q6_K>(args); }
void PairQ6_K(const PanelArgs& args) { IntegerPair<Q6_K>(args); }
}  // namespace avx512

}  // namespace millrace
