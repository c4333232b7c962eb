// Q5_0 and Q5_1 on AVX-512 VNNI; see matmul_avx512_small.h.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_small.h"

namespace millrace {
namespace {

// Codes 0 to 31: a nibble and a bit of the block's dword of high bits.
struct Five {
  const uint8_t* blocks;
  template <int>
  MILLRACE_INLINE __m512i Codes(int b, int t) const {
    const uint8_t* p = blocks + b * kQ5BlockBytes;
    const __m512i both = Load(p + 64 + t % 4 * 64);
    const __m512i low =
        _mm512_and_si512(t < 4 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
    // A row's dword t takes the bits 4t to 4t + 3: byte t / 2, four times, each tested for one bit.
    const __m512i row =
        _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    const __m512i byte = _mm512_add_epi8(row, _mm512_set1_epi8(static_cast<char>(t / 2)));
    const __m512i bits = _mm512_set1_epi32(t % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010u));
    const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(Load(p), byte), bits);
    return _mm512_mask_add_epi8(low, set, low, _mm512_set1_epi8(16));
  }
};

struct Q5_0 : Small<SmallHeader, 4, kQ50GroupBytes> {
  using Packed = Five;
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kSmallCodes};
  }
};

struct Q5_1 : Small<SmallMinHeader, kNoOffset, kQ51GroupBytes> {
  using Packed = Five;
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kSmallMinCodes};
  }
};

}  // namespace

namespace avx512 {
void PanelsQ5_0(const PanelArgs& args) { IntegerPanels<Q5_0>(args); }
void PanelsQ5_1(const PanelArgs& args) { IntegerPanels<Q5_1>(args); }
}  // namespace avx512

}  // namespace millrace
