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
template <int kLines, _mm_hint kHint>
struct PackedTable {
  const uint8_t* group;
  const uint8_t* codes;
  __m512i table;
  MILLRACE_INLINE void Prefetch(int block) const {
    PrefetchLines<kLines, kHint>(group + block * kLines * 64);
  }
  MILLRACE_INLINE __m512i Codes(int b, int t) const {
    const __m512i both = Load(codes + (b * 4 + t % 4) * 64);
    const __m512i nibbles =
        _mm512_and_si512(t < 4 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
    return _mm512_shuffle_epi8(table, nibbles);
  }
};

struct IQ4_NL {
  using Header = SmallHeader;
  using Expanded = SmallExpanded;
  using Packed = PackedTable<5, _MM_HINT_T0>;  // 8 * 5 lines cover a group's 36
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    const uint8_t* p = a.panel + group * kQ4GroupBytes;
    return {p, p + kSmallCodes, UnsignedTable<7>(kIq4Values)};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandSmallHeader(a, group, kQ4GroupBytes, header);
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSmallCodes(a, group, PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SmallGroup<C, 7>(header, source, tile, y);
  }
};

struct MXFP4 {
  using Header = SmallHeader;
  using Expanded = SmallExpanded;
  using Packed = PackedTable<5, _MM_HINT_T0>;  // 8 * 5 lines cover a group's 34
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    const uint8_t* p = a.panel + group * kMxfp4GroupBytes;
    return {p, p + kMxfp4Codes, UnsignedTable<4>(kMxfp4Values)};
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
    const uint8_t* p = a.panel + group * kMxfp4GroupBytes;
#pragma GCC unroll 8
    for (int b = 0; b < 8; ++b) header.d[b] = Scales(p + kLanes * b);
    header.blocks = BlocksOf(a, group);
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSmallCodes(a, group, PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SmallGroup<C, 4>(header, source, tile, y);
  }
};

// Integer scales per 32, one float scale.
struct IQ4_XS {
  struct Header {
    __m512i scale[8];  // int32 per row
    __m512 d;
  };
  using Expanded = SmallExpanded;
  using Packed = PackedTable<5, _MM_HINT_T0>;  // 8 * 5 lines cover a group's 34
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    const uint8_t* p = a.panel + group * kIq4XsGroupBytes;
    return {p, p + kIq4XsCodes, UnsignedTable<7>(kIq4Values)};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    const uint8_t* p = a.panel + group * kIq4XsGroupBytes;
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
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSmallCodes(a, group, PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    constexpr int kChains = C <= 2 ? 2 : 1;
    __m512i total[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) total[c] = _mm512_setzero_si512();
#pragma GCC unroll 1
    for (int b = 0; b < 8; ++b) {
      source.Prefetch(b);
      __m512i acc[kChains * C];
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        acc[c] = _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums32[b * C + c]), 7);
        if (kChains == 2) acc[(kChains - 1) * C + c] = _mm512_setzero_si512();
      }
#pragma GCC unroll 8
      for (int t = 0; t < 8; ++t) {
        const __m512i codes = source.Codes(b, t);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const int chain = t % kChains * C + c;
          acc[chain] = DotBroadcast(acc[chain], codes, tile.values + 4 * ((b * 8 + t) * C + c));
        }
      }
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const __m512i dot =
            kChains == 2 ? _mm512_add_epi32(acc[c], acc[(kChains - 1) * C + c]) : acc[c];
        total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(dot, header.scale[b]));
      }
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
void PanelIQ4_NL(const PanelArgs& args) { IntegerPanel<IQ4_NL>(args); }
void PanelMXFP4(const PanelArgs& args) { IntegerPanel<MXFP4>(args); }
void PanelIQ4_XS(const PanelArgs& args) { IntegerPanel<IQ4_XS>(args); }
}  // namespace avx512

}  // namespace millrace
