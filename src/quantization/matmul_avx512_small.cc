// Q8_0, Q4_0 and Q4_1 on AVX-512 VNNI; see matmul_avx512_small.h.
#include "quantization/matmul_avx512_small.h"

#include "quantization/matmul_avx512.h"

namespace millrace {
namespace {

struct Q8_0 : Small<SmallHeader, 7, kQ8GroupBytes> {
  static constexpr bool kBytes = true;
  struct Packed {
    const uint8_t* codes;
    template <int>
    MILLRACE_INLINE __m512i Codes(int b, int t) const {
      return Load(codes + (b * 8 + t) * 64);
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kSmallCodes};
  }
};

struct Nibbles {
  const uint8_t* codes;
  template <int>
  MILLRACE_INLINE __m512i Codes(int b, int t) const {
    const __m512i both = Load(codes + (b * 4 + t % 4) * 64);
    return _mm512_and_si512(t < 4 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
  }
};

struct Q4_0 : Small<SmallHeader, 3, kQ4GroupBytes> {
  using Packed = Nibbles;
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kSmallCodes};
  }
};

// Q4_0's layout with the minimums after the scales; no offset.
struct Q4_1 : Small<SmallMinHeader, kNoOffset, kQ41GroupBytes> {
  using Packed = Nibbles;
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kSmallMinCodes};
  }
};

}  // namespace

namespace avx512 {
void PanelsQ8_0(const PanelArgs& args) { IntegerPanels<Q8_0>(args); }
void PanelsQ4_0(const PanelArgs& args) { IntegerPanels<Q4_0>(args); }
void PanelsQ4_1(const PanelArgs& args) { IntegerPanels<Q4_1>(args); }
}  // namespace avx512

}  // namespace millrace
