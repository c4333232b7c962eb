// Q8_0 and Q4_0 on AVX-512 VNNI: unsigned codes, the offset (128 or 8) by the activations' sums,
// one float scale per 32.
#include "quantization/matmul_avx512.h"
#include "quantization/matmul_avx512_common.h"

namespace millrace {
namespace {

struct SmallHeader {
  __m512 d[8];
  int blocks;  // in this group: 8 but for the last
};

MILLRACE_INLINE void ExpandSmallHeader(const PanelArgs& a, int64_t group, int64_t group_bytes,
                                       SmallHeader& header) {
  const uint8_t* p = a.panel + group * group_bytes;
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b) header.d[b] = LoadHalves(p + 32 * b);
  const int64_t rest = a.columns / 32 - group * 8;
  header.blocks = static_cast<int>(rest < 8 ? rest : 8);
}

// Code w + 2^kShift stands for w, so the dot product starts from -2^kShift * sum(x).
template <int C, int kShift, class Source>
MILLRACE_INLINE void SmallGroup(const SmallHeader& header, const Source& source,
                                const TileGroup& tile, float* y) {
  constexpr int kChains = C <= 2 ? 2 : 1;
  __m512 g[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) g[c] = _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int b = 0; b < header.blocks; ++b) {
    source.Prefetch(b);
    __m512i acc[kChains * C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      acc[c] = _mm512_slli_epi32(_mm512_set1_epi32(tile.minus_sums32[b * C + c]), kShift);
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
      g[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), header.d[b], g[c]);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) AddGroup(y + c * kLanes, g[c], tile.scales[c]);
}

struct SmallExpanded : ExpandedCodes {
  MILLRACE_INLINE __m512i Codes(int b, int t) const { return Load(codes + (b * 8 + t) * 64); }
};

struct Q8_0 {
  using Header = SmallHeader;
  using Expanded = SmallExpanded;
  struct Packed {
    const uint8_t* codes;
    // 8 * 9 lines cover a group's 68.
    MILLRACE_INLINE void Prefetch(int block) const {
      PrefetchLines<9, _MM_HINT_T0>(codes - kSmallCodes + block * 9 * 64);
    }
    MILLRACE_INLINE __m512i Codes(int b, int t) const {
      const uint8_t* p = codes + (b * 8 + t) * 64;
      return Load(p);
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {a.panel + group * kQ8GroupBytes + kSmallCodes};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandSmallHeader(a, group, kQ8GroupBytes, header);
  }
  // They are bytes already.
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group, uint8_t*) {
    return PackedCodes(a, group).codes;
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SmallGroup<C, 7>(header, source, tile, y);
  }
};

struct Q4_0 {
  using Header = SmallHeader;
  using Expanded = SmallExpanded;
  struct Packed {
    const uint8_t* codes;
    // 8 * 5 lines cover a group's 36.
    MILLRACE_INLINE void Prefetch(int block) const {
      PrefetchLines<5, _MM_HINT_T0>(codes - kSmallCodes + block * 5 * 64);
    }
    MILLRACE_INLINE __m512i Codes(int b, int t) const {
      const uint8_t* p = codes + (b * 4 + t % 4) * 64;
      const __m512i both = Load(p);
      return _mm512_and_si512(t < 4 ? both : _mm512_srli_epi32(both, 4), _mm512_set1_epi8(0x0f));
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {a.panel + group * kQ4GroupBytes + kSmallCodes};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandSmallHeader(a, group, kQ4GroupBytes, header);
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    const Packed source = PackedCodes(a, group);
    const int64_t rest = a.columns / 32 - group * 8;
    for (int b = 0; b < (rest < 8 ? rest : 8); ++b) {
#pragma GCC unroll 8
      for (int t = 0; t < 8; ++t) _mm512_store_si512(out + (b * 8 + t) * 64, source.Codes(b, t));
    }
    return out;
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SmallGroup<C, 3>(header, source, tile, y);
  }
};

}  // namespace

namespace avx512 {
void PanelQ8_0(const PanelArgs& args) { IntegerPanel<Q8_0>(args); }
void PanelQ4_0(const PanelArgs& args) { IntegerPanel<Q4_0>(args); }
}  // namespace avx512

}  // namespace millrace
