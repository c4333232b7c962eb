// Q6_K on AVX-512 VNNI: codes 0..63 unsigned, the offset of 32 by the activations' sums, integer
// scales per 16.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_sixteens.h"

namespace millrace {
namespace {

struct Q6_K : Sixteens<5> {
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

  // Dword t (0 to 7) of the 32 elements in quarter kQuarter of half h.
  struct Packed {
    static constexpr bool kInOrder = false;
    const uint8_t* group;
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
};

}  // namespace

namespace avx512 {
void PanelsQ6_K(const PanelArgs& args) { IntegerPanels<Q6_K>(args); }
}  // namespace avx512

}  // namespace millrace
