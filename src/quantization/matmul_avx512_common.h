// Helpers of the AVX-512 kernels. Everything is in an anonymous namespace and inlined: see
// matmul_kernels.h for why.
//
// An integer kernel is a Format with
//   Header, ExpandHeader(args, group, header)  the scales of one group of sixteen rows, expanded
//   PackedCodes(args, group)                   a source of codes that unpacks in registers
//   Expanded, ExpandCodes(args, group, bytes)  a source of codes that were unpacked to bytes before
//   Group<C>(header, source, tile, y)          adds one group's product to y [C][16]
// The same Group runs on both sources (few columns: unpacked in registers; many: unpacked once), so
// both give the same bits.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

typedef int32_t __attribute__((may_alias)) AliasedInt;

constexpr int64_t kLanes = 16;
constexpr int64_t kMostColumns = 256;  // activation rows per pass: 16 KiB of partial results

// How far ahead of its use a line of weights is asked for: the prefetchers of the hardware stop at
// page borders.
constexpr int64_t kPrefetchBytes = 8192;

#define MILLRACE_INLINE inline __attribute__((always_inline))

// acc += the four codes of each row times the four activations at `x`. The memory operand is
// broadcast by the load unit, so the ports of the dot product stay free; GCC 12 does not form it by
// itself.
MILLRACE_INLINE __m512i DotBroadcast(__m512i acc, __m512i codes, const int8_t* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(acc)
      : "v"(codes), "m"(*reinterpret_cast<const AliasedInt*>(x)));
  return acc;
}

// acc[8 r + c] += the dot products of kDwords dwords of codes of panel r with column c. Each
// activation is loaded once for both panels: one panel alone keeps the load ports busier than the
// dot product's.
template <int kDwords>
MILLRACE_INLINE void DotTwoPanels(const uint8_t* first, const uint8_t* second, const int8_t* x,
                                  __m512i acc[16]) {
#pragma GCC unroll 8
  for (int t = 0; t < kDwords; ++t) {
    const __m512i w0 = _mm512_loadu_si512(first + 64 * t);
    const __m512i w1 = _mm512_loadu_si512(second + 64 * t);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      const __m512i b =
          _mm512_set1_epi32(*reinterpret_cast<const AliasedInt*>(x + 4 * (8 * t + c)));
      acc[c] = _mm512_dpbusd_epi32(acc[c], w0, b);
      acc[8 + c] = _mm512_dpbusd_epi32(acc[8 + c], w1, b);
    }
  }
}

MILLRACE_INLINE __m512i DotPairsBroadcast(__m512i acc, __m512i pairs, const int16_t* x) {
  asm("vpdpwssd %2%{1to16%}, %1, %0"
      : "+v"(acc)
      : "v"(pairs), "m"(*reinterpret_cast<const AliasedInt*>(x)));
  return acc;
}

MILLRACE_INLINE __m512i Load(const void* p) { return _mm512_loadu_si512(p); }
MILLRACE_INLINE __m512 LoadHalves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// y += g * scale for one column.
MILLRACE_INLINE void AddGroup(float* y, __m512 g, float scale) {
  _mm512_store_ps(y, _mm512_fmadd_ps(g, _mm512_set1_ps(scale), _mm512_load_ps(y)));
}

MILLRACE_INLINE void StoreRows(const PanelArgs& a, const float* y, int64_t first, int64_t count) {
  const __mmask16 mask = static_cast<__mmask16>((1u << a.valid_rows) - 1u);
  for (int64_t c = 0; c < count; ++c) {
    _mm512_mask_storeu_ps(a.y + (first + c) * a.y_stride, mask, _mm512_load_ps(y + c * kLanes));
  }
}

MILLRACE_INLINE void Clear(float* y, int64_t count) {
  for (int64_t c = 0; c < count; ++c) _mm512_store_ps(y + c * kLanes, _mm512_setzero_ps());
}

// Asks for lines of packed weights ahead of their use, a few per sub-block: a whole group's at once
// would overrun the queue of misses, and the barrier keeps the compiler from gathering them. T1
// (second-level cache) is measured better for the formats that read a line several times in a
// group, T0 for the others.
template <int kLines, _mm_hint kHint>
MILLRACE_INLINE void PrefetchLines(const uint8_t* line) {
#pragma GCC unroll 9
  for (int i = 0; i < kLines; ++i) {
    _mm_prefetch(reinterpret_cast<const char*>(line + kPrefetchBytes + i * 64), kHint);
  }
  asm volatile("" ::: "memory");
}

// Where one group of one tile begins in the activations' arrays.
struct TileGroup {
  const int8_t* values;
  const int32_t* minus_sums16;
  const int32_t* minus_sums32;
  const int16_t* pairs;
  const float* scales;
};

MILLRACE_INLINE TileGroup TileGroupAt(const PanelArgs& a, int64_t first, int64_t tile_columns,
                                      int64_t group) {
  return {a.tile_values + first * a.padded + group * 256 * tile_columns,
          a.tile_minus_sums16 + first * (a.padded / 16) + group * 16 * tile_columns,
          a.tile_minus_sums32 + first * (a.padded / 32) + group * 8 * tile_columns,
          a.tile_pairs + first * (a.padded / 32) + group * 8 * tile_columns,
          a.tile_scales + first * a.groups + group * tile_columns};
}

// One tile of columns: every group is unpacked in registers.
template <class Format, int C>
__attribute__((noinline)) void FewColumns(const PanelArgs& a, int64_t first) {
  alignas(64) float y[C * kLanes];
  Clear(y, C);
  for (int64_t group = 0; group < a.groups; ++group) {
    typename Format::Header header;
    Format::ExpandHeader(a, group, header);
    Format::template Group<C>(header, Format::PackedCodes(a, group),
                              TileGroupAt(a, first, C, group), y);
  }
  StoreRows(a, y, first, C);
}

// One group of a panel, expanded to bytes: [sub-block][dword][16][4], in the order of K.
struct ExpandedCodes {
  const uint8_t* codes;
  MILLRACE_INLINE void Prefetch(int) const {}
};

// One group of a panel, expanded.
template <class Format>
struct ExpandedGroup {
  typename Format::Header header;
  const uint8_t* codes;
};

template <class Format, int C>
__attribute__((noinline)) void ExpandedTile(const PanelArgs& a, int64_t group,
                                            const ExpandedGroup<Format>& w, int64_t first,
                                            float* y) {
  Format::template Group<C>(w.header, typename Format::Expanded{w.codes},
                            TileGroupAt(a, first, C, group), y);
}

template <class Format>
MILLRACE_INLINE void ExpandedTileOf(int64_t tile_columns, const PanelArgs& a, int64_t group,
                                    const ExpandedGroup<Format>& w, int64_t first, float* y) {
  using Tile = void (*)(const PanelArgs&, int64_t, const ExpandedGroup<Format>&, int64_t, float*);
  static constexpr Tile kTiles[] = {ExpandedTile<Format, 1>, ExpandedTile<Format, 2>,
                                    ExpandedTile<Format, 3>, ExpandedTile<Format, 4>,
                                    ExpandedTile<Format, 5>, ExpandedTile<Format, 6>,
                                    ExpandedTile<Format, 7>, ExpandedTile<Format, 8>};
  kTiles[tile_columns - 1](a, group, w, first, y);
}

// Columns [first, first + count), count <= kMostColumns: each group is expanded once, then met by
// all tiles.
template <class Format>
__attribute__((noinline)) void ManyColumns(const PanelArgs& a, int64_t first, int64_t count) {
  alignas(64) uint8_t codes[256 * kLanes];
  alignas(64) float y[kMostColumns * kLanes];
  ExpandedGroup<Format> w;
  Clear(y, count);
  for (int64_t group = 0; group < a.groups; ++group) {
    Format::ExpandHeader(a, group, w.header);
    w.codes = Format::ExpandCodes(a, group, codes);
    for (int64_t c = 0; c < count; c += kTileColumns) {
      const int64_t width = count - c < kTileColumns ? count - c : kTileColumns;
      ExpandedTileOf<Format>(width, a, group, w, first + c, y + c * kLanes);
    }
  }
  StoreRows(a, y, first, count);
}

// Lines of both panels to ask for ahead of their use while a tile is computed.
struct LinesAhead {
  const uint8_t* first;
  const uint8_t* second;
  int64_t lines;

  // Those of sub-block s of `count`: a few at a time, or they would overrun the queue of misses and
  // hold up the loads behind them.
  MILLRACE_INLINE void Ask(int64_t s, int64_t count) const {
    for (int64_t i = lines * s / count; i < lines * (s + 1) / count; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(first + i * 64), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(second + i * 64), _MM_HINT_T0);
    }
  }
};

// The share of tile `tile` of `tiles` in the lines that a later group of both panels needs.
template <class Format>
MILLRACE_INLINE LinesAhead ShareAhead(const PanelArgs& a, const PanelArgs& next, int64_t group,
                                      int64_t tile, int64_t tiles) {
  constexpr int64_t kLines = (Format::kGroupBytes + 63) / 64;
  const int64_t begin = kLines * tile / tiles, end = kLines * (tile + 1) / tiles;
  const int64_t panel_bytes = next.panel - a.panel;
  int64_t at = Format::GroupAt(a, group) - a.panel + kPrefetchBytes + begin * 64;
  // What lies behind a panel's end is its neighbour in the pair: the line that will be needed is a
  // panel further.
  if (at >= panel_bytes) at += panel_bytes;
  return {a.panel + at, next.panel + at, end - begin};
}

template <class Format>
__attribute__((noinline)) void ExpandedPairTile(const PanelArgs& a, int64_t group,
                                                const ExpandedGroup<Format> w[2],
                                                const LinesAhead& ahead, int64_t first, float* y0,
                                                float* y1) {
  Format::GroupPair(w[0].header, w[1].header, w[0].codes, w[1].codes,
                    TileGroupAt(a, first, kTileColumns, group), ahead, y0, y1);
}

// ManyColumns for two panels. A last tile of fewer columns is computed panel by panel.
template <class Format>
__attribute__((noinline)) void ManyColumnsPair(const PanelArgs& a, const PanelArgs& next,
                                               int64_t first, int64_t count) {
  alignas(64) uint8_t codes[2][256 * kLanes + 320];
  alignas(64) float y[2][kMostColumns * kLanes];
  ExpandedGroup<Format> w[2];
  Clear(y[0], count);
  Clear(y[1], count);
  for (int64_t group = 0; group < a.groups; ++group) {
    Format::ExpandHeader(a, group, w[0].header);
    Format::ExpandHeader(next, group, w[1].header);
    w[0].codes = Format::ExpandCodes(a, group, codes[0]);
    w[1].codes = Format::ExpandCodes(next, group, codes[1]);
    const int64_t tiles = (count + kTileColumns - 1) / kTileColumns;
    int64_t c = 0;
    for (; c + kTileColumns <= count; c += kTileColumns) {
      const LinesAhead ahead = ShareAhead<Format>(a, next, group, c / kTileColumns, tiles);
      ExpandedPairTile<Format>(a, group, w, ahead, first + c, y[0] + c * kLanes, y[1] + c * kLanes);
    }
    if (c == count) continue;
    ExpandedTileOf<Format>(count - c, a, group, w[0], first + c, y[0] + c * kLanes);
    ExpandedTileOf<Format>(count - c, next, group, w[1], first + c, y[1] + c * kLanes);
  }
  StoreRows(a, y[0], first, count);
  StoreRows(next, y[1], first, count);
}

template <class Format>
void IntegerPair(const PanelArgs& both) {
  PanelArgs a = both, next = both;
  a.valid_rows = kLanes;
  next.panel = both.next_panel;
  next.y += kLanes;
  for (int64_t first = 0; first < a.m; first += kMostColumns) {
    const int64_t rest = a.m - first;
    ManyColumnsPair<Format>(a, next, first, rest < kMostColumns ? rest : kMostColumns);
  }
}

template <class Format>
void IntegerPanel(const PanelArgs& a) {
  using Few = void (*)(const PanelArgs&, int64_t);
  static constexpr Few kFew[] = {
      FewColumns<Format, 1>, FewColumns<Format, 2>, FewColumns<Format, 3>, FewColumns<Format, 4>,
      FewColumns<Format, 5>, FewColumns<Format, 6>, FewColumns<Format, 7>, FewColumns<Format, 8>};
  // Up to two tiles, unpacking each time is quicker than writing the codes out; the second tile
  // finds the panel cached.
  if (a.m <= kFewRows) {
    for (int64_t first = 0; first < a.m; first += kTileColumns) {
      const int64_t rest = a.m - first;
      kFew[(rest < kTileColumns ? rest : kTileColumns) - 1](a, first);
    }
    return;
  }
  for (int64_t first = 0; first < a.m; first += kMostColumns) {
    const int64_t rest = a.m - first;
    ManyColumns<Format>(a, first, rest < kMostColumns ? rest : kMostColumns);
  }
}

}  // namespace
}  // namespace millrace
