// Helpers of the AVX-512 kernels. Everything is in an anonymous namespace and inlined: see
// matmul_kernels.h for why.
//
// An integer kernel is a Format with
//   Header, ExpandHeader(args, group, header)  the scales of one group of sixteen rows, expanded
//   GroupAt(args, group), kGroupBytes, kHint   where a group lies, and how to prefetch it
//   Packed, PackedCodes(args, group)           a source of codes that unpacks in registers
//   kSubBlocks                                 per group
//   kParts                                     see below
//   Group<P, C>(...)                           adds one group's product for P panels and C columns
//                                              to y [P][y_stride], each [C][16]
// A source has Codes<part>(outer, t): dword t (0 to 7) of the 32 elements kParts * outer + part,
// for sixteen rows. Sources differ in where the codes come from and what they leave behind, not in
// what they give, so the bits are the same.
//
// Three panels by four columns are the largest tile whose dot products and scaled sums both stay in
// registers (12 + 12, three weights, an activation). A sub-block costs as many multiplications by a
// scale as it has dot products per dword, so sums kept in memory are what other shapes lose to.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

typedef int32_t __attribute__((may_alias)) AliasedInt;

constexpr int64_t kLanes = 16;
constexpr int64_t kMostColumns = 256;  // activation rows per pass
constexpr int64_t kPanelsTogether = 3;

// How far ahead of its use a line of weights is asked for: the prefetchers of the hardware stop at
// page borders.
constexpr int64_t kPrefetchBytes = 8192;

#define MILLRACE_INLINE inline __attribute__((always_inline))
#define MILLRACE_LAMBDA __attribute__((always_inline))

// acc += the four codes of each row times the four activations at `x`. The memory operand is
// broadcast by the load unit, so the ports of the dot product stay free; GCC 12 does not form it by
// itself.
MILLRACE_INLINE __m512i DotBroadcast(__m512i acc, __m512i codes, const int8_t* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(acc)
      : "v"(codes), "m"(*reinterpret_cast<const AliasedInt*>(x)));
  return acc;
}

MILLRACE_INLINE __m512i BroadcastDword(const void* p) {
  return _mm512_set1_epi32(*static_cast<const AliasedInt*>(p));
}

MILLRACE_INLINE __m512i Load(const void* p) { return _mm512_loadu_si512(p); }
MILLRACE_INLINE __m512 LoadHalves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// acc [P][C] += `kDwords` dwords of codes of P panels, codes_at(p, t), times C columns of x
// [dword][C][4]. With several panels each activation is loaded once for all; one panel takes it as
// a memory operand.
template <int P, int C, int kDwords, class CodesAt>
MILLRACE_INLINE void DotDwords(const CodesAt& codes_at, const int8_t* x, __m512i acc[P * C]) {
  // Few sums alone would wait for the dot product's latency: two chains each.
  constexpr int kChains = P * C <= 4 ? 2 : 1;
  __m512i chain[kChains * P * C];
#pragma GCC unroll 12
  for (int i = 0; i < P * C; ++i) {
    chain[i] = acc[i];
    if (kChains == 2) chain[(kChains - 1) * P * C + i] = _mm512_setzero_si512();
  }
#pragma GCC unroll 8
  for (int t = 0; t < kDwords; ++t) {
    __m512i codes[P];
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p) codes[p] = codes_at(p, t);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const int8_t* at = x + 4 * (t * C + c);
      const int to = t % kChains * P * C + c;
      if constexpr (P == 1) {
        chain[to] = DotBroadcast(chain[to], codes[0], at);
      } else {
        const __m512i b = BroadcastDword(at);
#pragma GCC unroll 3
        for (int p = 0; p < P; ++p) {
          chain[to + p * C] = _mm512_dpbusd_epi32(chain[to + p * C], codes[p], b);
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < P * C; ++i) {
    acc[i] = kChains == 2 ? _mm512_add_epi32(chain[i], chain[(kChains - 1) * P * C + i]) : chain[i];
  }
}

// Where dot products start: code w + 2^kShift stands for w, so from -2^kShift times the sum of each
// column's activations; with kNoOffset from 0.
constexpr int kNoOffset = -1;
template <int P, int C, int kShift>
MILLRACE_INLINE void StartDots(const int32_t* minus_sums, __m512i acc[P * C]) {
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    const __m512i start = kShift == kNoOffset ? _mm512_setzero_si512()
                                              : _mm512_slli_epi32(_mm512_set1_epi32(minus_sums[c]),
                                                                  kShift == kNoOffset ? 0 : kShift);
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p) acc[p * C + c] = start;
  }
}

// The compiler computes v before it goes on: left alone, it puts sums off until registers run out.
template <class Vector>
MILLRACE_INLINE void KeepHere(Vector& v) {
  asm volatile("" : "+v"(v));
}

// total [P][C] += acc times each panel's integer scale `s`.
template <int P, int C, class Header>
MILLRACE_INLINE void AddScaled(const Header* header, int s, const __m512i acc[P * C],
                               __m512i total[P * C]) {
#pragma GCC unroll 12
  for (int i = 0; i < P * C; ++i) {
    total[i] = _mm512_add_epi32(total[i], _mm512_mullo_epi32(acc[i], header[i / C].scale[s]));
    KeepHere(total[i]);
  }
}

template <int N>
MILLRACE_INLINE void Zero(__m512i v[N]) {
#pragma GCC unroll 12
  for (int i = 0; i < N; ++i) v[i] = _mm512_setzero_si512();
}

// y += g * scale for one column.
MILLRACE_INLINE void AddGroup(float* y, __m512 g, float scale) {
  _mm512_store_ps(y, _mm512_fmadd_ps(g, _mm512_set1_ps(scale), _mm512_load_ps(y)));
}

MILLRACE_INLINE void Clear(float* y, int64_t count) {
  for (int64_t c = 0; c < count; ++c) _mm512_store_ps(y + c * kLanes, _mm512_setzero_ps());
}

MILLRACE_INLINE void StoreRows(const PanelArgs& a, const float* y, int64_t first, int64_t count,
                               int64_t panel, int64_t valid_rows) {
  const __mmask16 mask = static_cast<__mmask16>((1u << valid_rows) - 1u);
  for (int64_t c = 0; c < count; ++c) {
    _mm512_mask_storeu_ps(a.y + (first + c) * a.y_stride + panel * kLanes, mask,
                          _mm512_load_ps(y + c * kLanes));
  }
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
          a.tile_scales + (first * a.groups + group * tile_columns) * a.scales_per_group};
}

// Lines of packed weights to ask for ahead of their use, a few per sub-block: a whole group's at
// once would overrun the queue of misses and hold up the loads behind them.
//
// All of one panel's next lines: the number per sub-block is known to the compiler, which matters
// where a group is met by a single activation row.
template <class Format>
struct PanelAhead {
  const uint8_t* first;
  MILLRACE_INLINE void Ask(int s) const {
    constexpr int64_t kLines = (Format::kGroupBytes + 63) / 64;
    constexpr int64_t kEach = (kLines + Format::kSubBlocks - 1) / Format::kSubBlocks;
    if (kEach * Format::kSubBlocks >= kLines + kEach && s * kEach >= kLines) return;
#pragma GCC unroll 9
    for (int64_t i = 0; i < kEach; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(first + (s * kEach + i) * 64), Format::kHint);
    }
    asm volatile("" ::: "memory");  // keeps the compiler from gathering them
  }
};

// Some of the next lines of P panels: the same number in each sub-block of a tile, so that the
// branch is foreseen.
template <int P>
struct TileAhead {
  const uint8_t* first;
  int64_t panel_bytes;
  int64_t lines;  // per sub-block and panel
  MILLRACE_INLINE void Ask(int s) const {
    for (int64_t i = 0; i < lines; ++i) {
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) {
        _mm_prefetch(reinterpret_cast<const char*>(first + (s * lines + i) * 64 + p * panel_bytes),
                     _MM_HINT_T0);
      }
    }
    asm volatile("" ::: "memory");
  }
};

// What tile `tile` of `tiles` asks for, of the lines that a later group of the P panels needs. With
// more sub-blocks than lines, some tiles ask for one line in each and the others for none.
template <class Format, int P>
MILLRACE_INLINE TileAhead<P> ShareAhead(const PanelArgs& a, int64_t group, int64_t tile,
                                        int64_t tiles) {
  constexpr int64_t kLines = (Format::kGroupBytes + 63) / 64;
  const int64_t each = (kLines + tiles * Format::kSubBlocks - 1) / (tiles * Format::kSubBlocks);
  const int64_t per_tile = each * Format::kSubBlocks;
  const int64_t asking = (kLines + per_tile - 1) / per_tile;  // tiles
  const int64_t begin = tile * asking / tiles, end = (tile + 1) * asking / tiles;
  int64_t at =
      Format::GroupAt(a, group) - a.panel + kPrefetchBytes / P / 64 * 64 + begin * per_tile * 64;
  // What lies behind a panel's end is its neighbour among the P: the line that will be needed is
  // P - 1 panels further.
  if (at >= a.panel_bytes) at += (P - 1) * a.panel_bytes;
  return {a.panel + at, a.panel_bytes, end > begin ? each : 0};
}

// One group of P panels, as all tiles meet it.
template <class Format, int P>
struct PanelGroup {
  typename Format::Header header[P];
  typename Format::Packed packed[P];
  uint8_t* codes;  // of panel p at p * kCodesStride, [dword][16][4] in the order of K
};
// Not a multiple of 4096, which would put the panels into the same sets of the cache.
constexpr int64_t kCodesStride = 256 * kLanes + 320;
constexpr int64_t kYStride = (kMostColumns + 5) * kLanes;

// Codes that an earlier tile unpacked.
template <class Format>
struct Expanded {
  static constexpr bool kInOrder = true;  // Dword(i) of the group, which needs no constants
  const uint8_t* codes;
  MILLRACE_INLINE __m512i Dword(int i) const { return _mm512_load_si512(codes + i * 64); }
  template <int kPart>
  MILLRACE_INLINE __m512i Codes(int outer, int t) const {
    return Dword((outer * Format::kParts + kPart) * 8 + t);
  }
};

// Unpacks codes and keeps them for the later tiles.
template <class Format>
struct Expanding {
  static constexpr bool kInOrder = false;
  typename Format::Packed packed;
  uint8_t* codes;
  template <int kPart>
  MILLRACE_INLINE __m512i Codes(int outer, int t) const {
    const __m512i v = packed.template Codes<kPart>(outer, t);
    _mm512_store_si512(codes + ((outer * Format::kParts + kPart) * 8 + t) * 64, v);
    return v;
  }
};

enum class From { kPacked, kExpanding, kExpanded };

template <class Format, int P, int C, From kFrom, class Ahead>
__attribute__((noinline)) void RunTile(const PanelArgs& a, int64_t group,
                                       const PanelGroup<Format, P>& w, const Ahead& ahead,
                                       int64_t first, float* y) {
  const TileGroup tile = TileGroupAt(a, first, C, group);
  if constexpr (kFrom == From::kPacked) {
    Format::template Group<P, C>(w.header, w.packed, tile, ahead, y, kYStride);
  } else if constexpr (kFrom == From::kExpanding) {
    Expanding<Format> source[P];
    for (int p = 0; p < P; ++p) source[p] = {w.packed[p], w.codes + p * kCodesStride};
    Format::template Group<P, C>(w.header, source, tile, ahead, y, kYStride);
  } else {
    Expanded<Format> source[P];
    for (int p = 0; p < P; ++p) source[p] = {w.codes + p * kCodesStride};
    Format::template Group<P, C>(w.header, source, tile, ahead, y, kYStride);
  }
}

template <class Format, int P, From kFrom, class Ahead>
MILLRACE_INLINE void RunTileOf(int64_t columns, const PanelArgs& a, int64_t group,
                               const PanelGroup<Format, P>& w, const Ahead& ahead, int64_t first,
                               float* y) {
  static_assert(kTileColumns == 4);
  switch (columns) {
    case 1:
      return RunTile<Format, P, 1, kFrom>(a, group, w, ahead, first, y);
    case 2:
      return RunTile<Format, P, 2, kFrom>(a, group, w, ahead, first, y);
    case 3:
      return RunTile<Format, P, 3, kFrom>(a, group, w, ahead, first, y);
    default:
      return RunTile<Format, P, 4, kFrom>(a, group, w, ahead, first, y);
  }
}

// All tiles of columns [first, first + count) times one group: the first tile unpacks the codes and
// leaves them to the others, if there are any.
template <class Format, int P>
MILLRACE_INLINE void RunTiles(const PanelArgs& a, int64_t group, const PanelGroup<Format, P>& w,
                              int64_t first, int64_t count, float* y) {
  constexpr From kFirst = Format::kBytes ? From::kPacked : From::kExpanding;
  constexpr From kLater = Format::kBytes ? From::kPacked : From::kExpanded;
  const int64_t tiles = (count + kTileColumns - 1) / kTileColumns;
  if (tiles == 1) {
    if constexpr (P == 1) {
      const PanelAhead<Format> ahead = {Format::GroupAt(a, group) + kPrefetchBytes};
      RunTileOf<Format, P, From::kPacked>(count, a, group, w, ahead, first, y);
    } else {
      RunTileOf<Format, P, From::kPacked>(count, a, group, w, ShareAhead<Format, P>(a, group, 0, 1),
                                          first, y);
    }
    return;
  }
  RunTile<Format, P, kTileColumns, kFirst>(a, group, w, ShareAhead<Format, P>(a, group, 0, tiles),
                                           first, y);
  for (int64_t tile = 1; tile < tiles; ++tile) {
    const int64_t c = tile * kTileColumns;
    const int64_t rest = count - c;
    RunTileOf<Format, P, kLater>(rest, a, group, w, ShareAhead<Format, P>(a, group, tile, tiles),
                                 first + c, y + c * kLanes);
  }
}

// P panels times the columns [first, first + count), count <= kMostColumns.
template <class Format, int P>
__attribute__((noinline)) void Columns(const PanelArgs& a, int64_t first, int64_t count) {
  alignas(64) uint8_t codes[P * kCodesStride];
  alignas(64) float y[P * kYStride];
  PanelGroup<Format, P> w;
  w.codes = codes;
  PanelArgs panel = a;
  for (int p = 0; p < P; ++p) Clear(y + p * kYStride, count);
  for (int64_t group = 0; group < a.groups; ++group) {
    for (int p = 0; p < P; ++p) {
      panel.panel = a.panel + p * a.panel_bytes;
      Format::ExpandHeader(panel, group, w.header[p]);
      w.packed[p] = Format::PackedCodes(panel, group);
    }
    RunTiles<Format, P>(a, group, w, first, count, y);
  }
  for (int p = 0; p < P; ++p) {
    StoreRows(a, y + p * kYStride, first, count, p, p + 1 < P ? kLanes : a.valid_rows);
  }
}

// Panel p of several by itself.
MILLRACE_INLINE PanelArgs OnePanel(const PanelArgs& a, int64_t p) {
  PanelArgs one = a;
  one.panel += p * a.panel_bytes;
  one.y += p * kLanes;
  one.valid_rows = p + 1 < a.panels ? kLanes : a.valid_rows;
  one.panels = 1;
  return one;
}

// Any number of panels. Few activation rows wait for memory, which delivers one stream of weights
// quicker than three: bytes up to four rows, codes to unpack up to three.
template <class Format>
void IntegerPanels(const PanelArgs& a) {
  constexpr int64_t kLeastRows = Format::kBytes ? 5 : 4;
  for (int64_t first = 0; first < a.m; first += kMostColumns) {
    const int64_t rest = a.m - first;
    const int64_t count = rest < kMostColumns ? rest : kMostColumns;
    if (a.panels == kPanelsTogether && count >= kLeastRows) {
      Columns<Format, kPanelsTogether>(a, first, count);
      continue;
    }
    for (int64_t p = 0; p < a.panels; ++p) Columns<Format, 1>(OnePanel(a, p), first, count);
  }
}

}  // namespace
}  // namespace millrace
