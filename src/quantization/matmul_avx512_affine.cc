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

template <int C, int kHalf, class Source>
MILLRACE_INLINE void AffineSubBlock(const AffineHeader& header, const Source& source, int j,
                                    const int8_t* x, __m512i total[C]) {
  // One or two columns alone would wait for the dot product's latency: two chains each.
  constexpr int kChains = C <= 2 ? 2 : 1;
  __m512i acc[kChains * C];
#pragma GCC unroll 16
  for (int c = 0; c < kChains * C; ++c) acc[c] = _mm512_setzero_si512();
  x += (2 * j + kHalf) * 32 * C;
  source.Prefetch(2 * j + kHalf);
#pragma GCC unroll 8
  for (int t = 0; t < 8; ++t) {
    const __m512i codes = source.template Codes<kHalf>(j, t);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const int chain = t % kChains * C + c;
      acc[chain] = DotBroadcast(acc[chain], codes, x + 4 * (t * C + c));
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    const __m512i dot =
        kChains == 2 ? _mm512_add_epi32(acc[c], acc[(kChains - 1) * C + c]) : acc[c];
    total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(dot, header.scale[2 * j + kHalf]));
  }
}

// y += the scaled sums of one group less its minimums.
template <int C>
MILLRACE_INLINE void AddAffineGroup(const AffineHeader& header, const TileGroup& tile,
                                    const __m512i total[C], float* y) {
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    __m512i mins = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      mins = DotPairsBroadcast(mins, header.mins[p], tile.pairs + 2 * (p * C + c));
    }
    const __m512 g = _mm512_fnmadd_ps(header.dmin, _mm512_cvtepi32_ps(mins),
                                      _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(total[c])));
    AddGroup(y + c * kLanes, g, tile.scales[c]);
  }
}

template <int C, class Source>
MILLRACE_INLINE void AffineGroup(const AffineHeader& header, const Source& source,
                                 const TileGroup& tile, float* y) {
  __m512i total[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) total[c] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (int j = 0; j < 4; ++j) {
    AffineSubBlock<C, 0>(header, source, j, tile.values, total);
    AffineSubBlock<C, 1>(header, source, j, tile.values, total);
  }
  AddAffineGroup<C>(header, tile, total, y);
}

// AffineGroup<8> for two panels.
MILLRACE_INLINE void AffineGroupPair(const AffineHeader& h0, const AffineHeader& h1,
                                     const uint8_t* w0, const uint8_t* w1, const TileGroup& tile,
                                     const LinesAhead& ahead, float* y0, float* y1) {
  __m512i total[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) total[i] = _mm512_setzero_si512();
#pragma GCC unroll 1
  for (int s = 0; s < 8; ++s) {
    ahead.Ask(s, 8);
    __m512i acc[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) acc[i] = _mm512_setzero_si512();
    DotTwoPanels<8>(w0 + s * 512, w1 + s * 512, tile.values + s * 32 * 8, acc);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(acc[c], h0.scale[s]));
      total[8 + c] = _mm512_add_epi32(total[8 + c], _mm512_mullo_epi32(acc[8 + c], h1.scale[s]));
    }
  }
  AddAffineGroup<8>(h0, tile, total, y0);
  AddAffineGroup<8>(h1, tile, total + 8, y1);
}

struct AffineExpanded : ExpandedCodes {
  template <int kHalf>
  MILLRACE_INLINE __m512i Codes(int j, int t) const {
    return _mm512_load_si512(codes + ((2 * j + kHalf) * 8 + t) * 64);
  }
};

struct Q4_K {
  using Header = AffineHeader;
  static constexpr int64_t kGroupBytes = kQ4KGroupBytes;
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  using Expanded = AffineExpanded;
  struct Packed {
    const uint8_t* codes;
    // 8 * 5 lines cover a group's 36.
    MILLRACE_INLINE void Prefetch(int sub_block) const {
      PrefetchLines<5, _MM_HINT_T0>(codes - kAffineRest + sub_block * 5 * 64);
    }
    template <int kHalf>
    MILLRACE_INLINE __m512i Codes(int j, int t) const {
      const uint8_t* p = codes + (j * 8 + t) * 64;
      const __m512i both = Load(p);
      return _mm512_and_si512(kHalf == 0 ? both : _mm512_srli_epi32(both, 4),
                              _mm512_set1_epi8(0x0f));
    }
  };

  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {a.panel + group * kQ4KGroupBytes + kAffineRest};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandAffineHeader(a.panel + group * kQ4KGroupBytes, header);
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandAffineCodes(PackedCodes(a, group), out);
  }
  template <class Source>
  MILLRACE_INLINE static const uint8_t* ExpandAffineCodes(const Source& source, uint8_t* out) {
    for (int j = 0; j < 4; ++j) {
      for (int t = 0; t < 8; ++t) {
        _mm512_store_si512(out + (16 * j + t) * 64, source.template Codes<0>(j, t));
        _mm512_store_si512(out + (16 * j + 8 + t) * 64, source.template Codes<1>(j, t));
      }
    }
    return out;
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    AffineGroup<C>(header, source, tile, y);
  }
  MILLRACE_INLINE static void GroupPair(const Header& h0, const Header& h1, const uint8_t* w0,
                                        const uint8_t* w1, const TileGroup& tile,
                                        const LinesAhead& ahead, float* y0, float* y1) {
    AffineGroupPair(h0, h1, w0, w1, tile, ahead, y0, y1);
  }
};

struct Q5_K : Q4_K {
  static constexpr int64_t kGroupBytes = kQ5KGroupBytes;
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
  struct Packed {
    const uint8_t* high;
    const uint8_t* codes;
    // 8 * 6 lines cover a group's 44.
    MILLRACE_INLINE void Prefetch(int sub_block) const {
      PrefetchLines<6, _MM_HINT_T1>(high - kAffineRest + sub_block * 6 * 64);
    }
    template <int kHalf>
    MILLRACE_INLINE __m512i Codes(int j, int t) const {
      const uint8_t* p = codes + (j * 8 + t) * 64;
      const __m512i both = Load(p);
      const __m512i low =
          _mm512_and_si512(kHalf == 0 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
      // Bit 2j + kHalf of every byte comes to bit 4; what crosses into other bytes is masked off.
      const __m512i count = _mm512_set1_epi32((4 - 2 * j - kHalf) & 31);
      const __m512i bits = _mm512_rolv_epi32(Load(high + t * 64), count);
      return _mm512_ternarylogic_epi32(bits, _mm512_set1_epi8(0x10), low, 0xea);  // (a & b) | c
    }
  };

  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    const uint8_t* rest = a.panel + group * kQ5KGroupBytes + kAffineRest;
    return {rest, rest + 512};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandAffineHeader(a.panel + group * kQ5KGroupBytes, header);
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandAffineCodes(PackedCodes(a, group), out);
  }
};

}  // namespace

namespace avx512 {
void PanelQ4_K(const PanelArgs& args) { IntegerPanel<Q4_K>(args); }
void PanelQ5_K(const PanelArgs& args) { IntegerPanel<Q5_K>(args); }
void PairQ4_K(const PanelArgs& args) { IntegerPair<Q4_K>(args); }
void PairQ5_K(const PanelArgs& args) { IntegerPair<Q5_K>(args); }
}  // namespace avx512

}  // namespace millrace
