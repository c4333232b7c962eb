// IQ4_NL, MXFP4 and IQ4_XS on AVX-512 VNNI: nibbles looked up in a table of unsigned codes, the
// offset by the activations' sums.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_small.h"

namespace millrace {
namespace {

// The table with 2^kShift added to its values, which makes them unsigned.
template <int kShift>
MILLRACE_INLINE __m512i UnsignedTable(const int8_t values[16]) {
  const __m128i table = _mm_load_si128(reinterpret_cast<const __m128i*>(values));
  return _mm512_add_epi8(_mm512_broadcast_i32x4(table),
                         _mm512_set1_epi8(static_cast<char>(1 << kShift)));
}

// Blocks of 16 bytes: byte j holds element j (low nibble) and j + 16.
struct TableCodes {
  const uint8_t* codes;
  __m512i table;
  template <int>
  MILLRACE_INLINE __m512i Codes(int b, int t) const {
    const __m512i both = Load(codes + (b * 4 + t % 4) * 64);
    const __m512i nibbles =
        _mm512_and_si512(t < 4 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
    return _mm512_shuffle_epi8(table, nibbles);
  }
};

struct IQ4_NL : Small<SmallHeader, 7, kQ4GroupBytes> {
  using Packed = TableCodes;
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kSmallCodes, UnsignedTable<7>(kIq4Values)};
  }
};

struct MXFP4 : Small<SmallHeader, 4, kMxfp4GroupBytes> {
  using Packed = TableCodes;
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kMxfp4Codes, UnsignedTable<4>(kMxfp4Values)};
  }
  // 2^(e - 128) for sixteen rows; the two smallest are denormal.
  MILLRACE_INLINE static __m512 Scales(const uint8_t* exponents) {
    const __m512i e =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(exponents)));
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i usual = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    const __mmask16 tiny = _mm512_cmple_epi32_mask(e, one);
    return _mm512_castsi512_ps(
        _mm512_mask_sllv_epi32(usual, tiny, _mm512_set1_epi32(0x00200000), e));
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    const uint8_t* p = GroupAt(a, group);
#pragma GCC unroll 8
    for (int b = 0; b < 8; ++b) header.d[b] = Scales(p + kLanes * b);
    header.blocks = BlocksOf(a, group);
  }
};

// Integer scales per 32, one float scale.
struct IQ4_XS {
  struct Header {
    __m512i scale[8];  // int32 per row
    __m512 d;
  };
  using Packed = TableCodes;
  static constexpr int64_t kGroupBytes = kIq4XsGroupBytes;
  static constexpr auto kHint = _MM_HINT_T0;
  static constexpr bool kBytes = false;
  static constexpr int kSubBlocks = 8, kParts = 1;

  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {GroupAt(a, group) + kIq4XsCodes, UnsignedTable<7>(kIq4Values)};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    const uint8_t* p = GroupAt(a, group);
    header.d = LoadHalves(p);
    const __m512i lows = Load(p + kIq4XsLow);
    const __m512i tops =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + kIq4XsHigh)));
#pragma GCC unroll 8
    for (int b = 0; b < 8; ++b) {
      const __m512i low = _mm512_and_si512(_mm512_srli_epi32(lows, static_cast<unsigned>(4 * b)),
                                           _mm512_set1_epi32(15));
      const __m512i top = _mm512_and_si512(_mm512_srli_epi32(tops, static_cast<unsigned>(2 * b)),
                                           _mm512_set1_epi32(3));
      header.scale[b] =
          _mm512_sub_epi32(_mm512_or_si512(low, _mm512_slli_epi32(top, 4)), _mm512_set1_epi32(32));
    }
  }
  template <int P, int C, class Source, class Ahead>
  MILLRACE_INLINE static void Group(const Header* header, const Source* source,
                                    const TileGroup& tile, const Ahead& ahead, float* y,
                                    int64_t y_stride) {
    __m512i total[P * C];
    Zero<P * C>(total);
#pragma GCC unroll 1
    for (int b = 0; b < 8; ++b) {
      ahead.Ask(b);
      __m512i acc[P * C];
      StartDots<P, C, 7>(tile.minus_sums32 + b * C, acc);
      DotDwords<P, C, 8>([&](int p, int t)
                             MILLRACE_LAMBDA { return source[p].template Codes<0>(b, t); },
                         tile.values + b * 32 * C, acc);
      AddScaled<P, C>(header, b, acc, total);
    }
#pragma GCC unroll 12
    for (int i = 0; i < P * C; ++i) {
      AddGroup(y + i / C * y_stride + i % C * kLanes,
               _mm512_mul_ps(header[i / C].d, _mm512_cvtepi32_ps(total[i])), tile.scales[i % C]);
    }
  }
};

}  // namespace

namespace avx512 {
void PanelsIQ4_NL(const PanelArgs& args) { IntegerPanels<IQ4_NL>(args); }
void PanelsMXFP4(const PanelArgs& args) { IntegerPanels<MXFP4>(args); }
void PanelsIQ4_XS(const PanelArgs& args) { IntegerPanels<IQ4_XS>(args); }
}  // namespace avx512

}  // namespace millrace
