// Q8_0, Q4_0 and Q4_1 on AVX-512 VNNI; see matmul_avx512_small.h.
#include "quantization/matmul_avx512_small.h"

#include "quantization/matmul_avx512.h"

namespace millrace {
namespace {

struct Q8_0 {
  using Header = SmallHeader;
  static constexpr int64_t kGroupBytes = kQ8GroupBytes;
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
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
  MILLRACE_INLINE static void GroupPair(const Header& h0, const Header& h1, const uint8_t* w0,
                                        const uint8_t* w1, const TileGroup& tile,
                                        const LinesAhead& ahead, float* y0, float* y1) {
    SmallGroupPair<7>(h0, h1, w0, w1, tile, ahead, y0, y1);
  }
};

struct Q4_0 {
  using Header = SmallHeader;
  static constexpr int64_t kGroupBytes = kQ4GroupBytes;
  MILLRACE_INLINE static const uint8_t* GroupAt(const PanelArgs& a, int64_t group) {
    return a.panel + group * kGroupBytes;
  }
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
    return ExpandSmallCodes(a, group, PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SmallGroup<C, 3>(header, source, tile, y);
  }
  MILLRACE_INLINE static void GroupPair(const Header& h0, const Header& h1, const uint8_t* w0,
                                        const uint8_t* w1, const TileGroup& tile,
                                        const LinesAhead& ahead, float* y0, float* y1) {
    SmallGroupPair<3>(h0, h1, w0, w1, tile, ahead, y0, y1);
  }
};

// Q4_0's layout with the minimums after the scales; no offset.
struct Q4_1 {
  using Header = SmallMinHeader;
  using Expanded = SmallExpanded;
  struct Packed : Q4_0::Packed {
    // 8 * 5 lines cover a group's 40.
    MILLRACE_INLINE void Prefetch(int block) const {
      PrefetchLines<5, _MM_HINT_T0>(codes - kSmallMinCodes + block * 5 * 64);
    }
  };
  MILLRACE_INLINE static Packed PackedCodes(const PanelArgs& a, int64_t group) {
    return {{a.panel + group * kQ41GroupBytes + kSmallMinCodes}};
  }
  MILLRACE_INLINE static void ExpandHeader(const PanelArgs& a, int64_t group, Header& header) {
    ExpandSmallMinHeader(a, group, kQ41GroupBytes, header);
  }
  MILLRACE_INLINE static const uint8_t* ExpandCodes(const PanelArgs& a, int64_t group,
                                                    uint8_t* out) {
    return ExpandSmallCodes(a, group, PackedCodes(a, group), out);
  }
  template <int C, class Source>
  MILLRACE_INLINE static void Group(const Header& header, const Source& source,
                                    const TileGroup& tile, float* y) {
    SmallGroup<C, kNoOffset>(header, source, tile, y);
  }
};

}  // namespace

namespace avx512 {
void PanelQ8_0(const PanelArgs& args) { IntegerPanel<Q8_0>(args); }
void PanelQ4_0(const PanelArgs& args) { IntegerPanel<Q4_0>(args); }
void PairQ8_0(const PanelArgs& args) { IntegerPair<Q8_0>(args); }
void PairQ4_0(const PanelArgs& args) { IntegerPair<Q4_0>(args); }
void PanelQ4_1(const PanelArgs& args) { IntegerPanel<Q4_1>(args); }
}  // namespace avx512

}  // namespace millrace
