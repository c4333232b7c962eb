// The integer formats on 256-bit vectors, for AVX2 and for AVX-VNNI: a file of kernels says which
// by defining MILLRACE_AVX_VNNI before it includes this. Everything is in an anonymous namespace
// and inlined; see matmul_kernels.h for why.
//
// A group of a panel is expanded to bytes once; then each tile of up to four columns meets it,
// eight rows at a time. A Format has
//   kSigned             whether its codes are signed
//   kMins               what is added or taken away besides the codes
//   kSmall              a float scale per 32, else integer scales and one float scale per 256
//   kDwords             dwords of codes per sub-block: 8, or 4 where the scales are per 16
//   kRun                see DotSubBlock
//   Expand(args, index, group)
#pragma once

#include <immintrin.h>

#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

#define MILLRACE_INLINE inline __attribute__((always_inline))

typedef int32_t __attribute__((may_alias)) AliasedInt;

constexpr int64_t kLanes = 16;
constexpr int64_t kMostColumns = 256;

MILLRACE_INLINE __m256i Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
MILLRACE_INLINE void Store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
MILLRACE_INLINE __m256i Broadcast(const void* p) {
  return _mm256_set1_epi32(*static_cast<const AliasedInt*>(p));
}

enum class Mins {
  kNone,
  kBlocks,    // a float per block of 32, added (Q4_1, Q5_1)
  kPairs,     // an integer per 32, taken away with one float scale (Q4_K, Q5_K)
  kSixteens,  // an integer per 16, likewise (Q2_K)
};

// One group of sixteen rows, expanded.
struct Group {
  alignas(64) uint8_t codes[64][64];   // [dword along K][16 rows][4]; signed for the signed formats
  alignas(32) int32_t scales[16][16];  // [sub-block][row]: the scale twice, as a pair of int16
  alignas(32) int32_t mins[16][16];    // kPairs: 4 pairs of int16, as in PanelArgs::tile_pairs;
                                       // kSixteens: one per sub-block, its high half zero
  alignas(32) float d[8][16];
  alignas(32) float dmin[8][16];  // kBlocks: one per block
  int blocks;                     // of 32
};

// Eight columns of a tile at most; `width` is the tile's own number of columns.
struct Tile {
  const int8_t* values;
  const int32_t* minus_sums16;
  const int32_t* minus_sums32;
  const int16_t* pairs;
  const float* scales;
  int64_t width;
};

MILLRACE_INLINE void ExpandHalves(const uint8_t* from, float* to) {
  for (int h = 0; h < 2; ++h) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * h));
    _mm256_storeu_ps(to + 8 * h, _mm256_cvtph_ps(halves));
  }
}

MILLRACE_INLINE __m256i TwiceInt16(__m256i v) {
  return _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(v, 16));
}

// Adds the sum of sub-block s (Format::kDwords dwords of codes) times the activations to `total`,
// for eight rows and C columns, times the integer scale (a pair of int16) unless kSmall.
#if defined(MILLRACE_AVX_VNNI)
// The dot product takes unsigned codes: 128 is added to signed ones, and taken away through the
// activations' sums.
template <class Format, int C>
MILLRACE_INLINE void DotSubBlock(const Group& group, int s, int half, const Tile& tile,
                                 __m256i scale, __m256i total[C]) {
  const int32_t* minus_sums = Format::kDwords == 8 ? tile.minus_sums32 : tile.minus_sums16;
  __m256i dot[C];
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    dot[c] = Format::kSigned
                 ? _mm256_slli_epi32(_mm256_set1_epi32(minus_sums[s * tile.width + c]), 7)
                 : _mm256_setzero_si256();
  }
#pragma GCC unroll 8
  for (int t = 0; t < Format::kDwords; ++t) {
    const int64_t dword = s * Format::kDwords + t;
    __m256i codes = Load(group.codes[dword] + 32 * half);
    if (Format::kSigned) codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const __m256i x = Broadcast(tile.values + 4 * (dword * tile.width + c));
      dot[c] = _mm256_dpbusd_avx_epi32(dot[c], codes, x);
    }
  }
  const __m256i one_scale = _mm256_srai_epi32(scale, 16);
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    total[c] =
        _mm256_add_epi32(total[c], Format::kSmall ? dot[c] : _mm256_mullo_epi32(dot[c], one_scale));
  }
}
#else
// maddubs sums two products in 16 bits with saturation, so the codes are kept small enough: signed
// ones go through |w| and x * sign(w), and Format::kRun sums of pairs are added before they are
// widened, which stays below 2^15 for the largest code times 127.
template <class Format, int C>
MILLRACE_INLINE void DotSubBlock(const Group& group, int s, int half, const Tile& tile,
                                 __m256i scale, __m256i total[C]) {
  const __m256i weight = Format::kSmall ? _mm256_set1_epi16(1) : scale;
#pragma GCC unroll 8
  for (int run = 0; run < Format::kDwords / Format::kRun; ++run) {
    __m256i sums[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[c] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int t = 0; t < Format::kRun; ++t) {
      const int64_t dword = s * Format::kDwords + run * Format::kRun + t;
      const __m256i codes = Load(group.codes[dword] + 32 * half);
      const __m256i magnitudes = Format::kSigned ? _mm256_abs_epi8(codes) : codes;
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        __m256i x = Broadcast(tile.values + 4 * (dword * tile.width + c));
        if (Format::kSigned) x = _mm256_sign_epi8(x, codes);
        sums[c] = _mm256_add_epi16(sums[c], _mm256_maddubs_epi16(magnitudes, x));
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      total[c] = _mm256_add_epi32(total[c], _mm256_madd_epi16(sums[c], weight));
    }
  }
}
#endif

template <int C>
MILLRACE_INLINE void AddGroup(const Tile& tile, int half, const __m256 g[C], float* y) {
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    float* out = y + c * kLanes + 8 * half;
    _mm256_storeu_ps(out,
                     _mm256_fmadd_ps(g[c], _mm256_set1_ps(tile.scales[c]), _mm256_loadu_ps(out)));
  }
}

// The minimums of kPairs and kSixteens times the activations' sums, negated for the latter.
template <class Format>
MILLRACE_INLINE __m256i DotMins(const Group& group, int half, const Tile& tile, int c) {
  __m256i mins = _mm256_setzero_si256();
  for (int i = 0; i < (Format::kMins == Mins::kPairs ? 4 : 16); ++i) {
    // Of a negated sum over 16, the low half is the sum and the high half meets a zero.
    const __m256i sums = Format::kMins == Mins::kPairs
                             ? Broadcast(tile.pairs + 2 * (i * tile.width + c))
                             : _mm256_set1_epi32(tile.minus_sums16[i * tile.width + c]);
    mins = _mm256_add_epi32(mins, _mm256_madd_epi16(Load(group.mins[i] + 8 * half), sums));
  }
  return mins;
}

// Integer scales, one float scale.
template <class Format, int C>
__attribute__((noinline)) void SuperBlockTile(const Group& group, const Tile& tile, float* y) {
  for (int half = 0; half < 2; ++half) {
    __m256i total[C];
    __m256 g[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) total[c] = _mm256_setzero_si256();
    for (int s = 0; s < 64 / Format::kDwords; ++s) {
      DotSubBlock<Format, C>(group, s, half, tile, Load(group.scales[s] + 8 * half), total);
    }
    const __m256 d = _mm256_loadu_ps(group.d[0] + 8 * half);
    const __m256 dmin = _mm256_loadu_ps(group.dmin[0] + 8 * half);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      g[c] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(total[c]));
      if (Format::kMins == Mins::kNone) continue;
      const __m256 mins = _mm256_cvtepi32_ps(DotMins<Format>(group, half, tile, c));
      g[c] = Format::kMins == Mins::kPairs ? _mm256_fnmadd_ps(dmin, mins, g[c])
                                           : _mm256_fmadd_ps(dmin, mins, g[c]);
    }
    AddGroup<C>(tile, half, g, y);
  }
}

// A float scale per 32.
template <class Format, int C>
__attribute__((noinline)) void SmallBlockTile(const Group& group, const Tile& tile, float* y) {
  for (int half = 0; half < 2; ++half) {
    __m256 sum[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sum[c] = _mm256_loadu_ps(y + c * kLanes + 8 * half);
    for (int b = 0; b < group.blocks; ++b) {
      __m256i dot[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) dot[c] = _mm256_setzero_si256();
      DotSubBlock<Format, C>(group, b, half, tile, _mm256_setzero_si256(), dot);
      const __m256 d = _mm256_loadu_ps(group.d[b] + 8 * half);
      const __m256 m = _mm256_loadu_ps(group.dmin[b] + 8 * half);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        const __m256 scale = _mm256_set1_ps(tile.scales[b * tile.width + c]);
        sum[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), _mm256_mul_ps(d, scale), sum[c]);
        if (Format::kMins == Mins::kNone) continue;
        const __m256i minus_sum = _mm256_set1_epi32(tile.minus_sums32[b * tile.width + c]);
        sum[c] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(minus_sum), _mm256_mul_ps(m, scale), sum[c]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) _mm256_storeu_ps(y + c * kLanes + 8 * half, sum[c]);
  }
}

template <class Format, int C>
MILLRACE_INLINE void RunTile(const Group& group, const Tile& tile, float* y) {
  if (Format::kSmall) {
    SmallBlockTile<Format, C>(group, tile, y);
  } else {
    SuperBlockTile<Format, C>(group, tile, y);
  }
}

template <class Format>
MILLRACE_INLINE void TileOf(const PanelArgs& a, const Group& group, int64_t index, int64_t first,
                            int64_t width, float* y) {
  for (int64_t c = 0; c < width; c += 4, y += 4 * kLanes) {
    const Tile tile = {a.tile_values + first * a.padded + (index * 256 * width) + 4 * c,
                       a.tile_minus_sums16 + first * (a.padded / 16) + index * 16 * width + c,
                       a.tile_minus_sums32 + first * (a.padded / 32) + index * 8 * width + c,
                       a.tile_pairs + first * (a.padded / 32) + index * 8 * width + 2 * c,
                       a.tile_scales + (first * a.groups + index * width) * a.scales_per_group + c,
                       width};
    switch (width - c) {
      case 1:
        RunTile<Format, 1>(group, tile, y);
        break;
      case 2:
        RunTile<Format, 2>(group, tile, y);
        break;
      case 3:
        RunTile<Format, 3>(group, tile, y);
        break;
      default:
        RunTile<Format, 4>(group, tile, y);
    }
  }
}

template <class Format>
void IntegerPanel(const PanelArgs& a) {
  alignas(32) float y[kMostColumns * kLanes];
  Group group;
  for (int64_t first = 0; first < a.m; first += kMostColumns) {
    const int64_t count = a.m - first < kMostColumns ? a.m - first : kMostColumns;
    for (int64_t i = 0; i < count * kLanes; ++i) y[i] = 0.0f;
    for (int64_t index = 0; index < a.groups; ++index) {
      Format::Expand(a, index, group);
      for (int64_t c = 0; c < count; c += kTileColumns) {
        const int64_t width = count - c < kTileColumns ? count - c : kTileColumns;
        TileOf<Format>(a, group, index, first + c, width, y + c * kLanes);
      }
    }
    for (int64_t c = 0; c < count; ++c) {
      for (int64_t r = 0; r < a.valid_rows; ++r) {
        a.y[(first + c) * a.y_stride + r] = y[c * kLanes + r];
      }
    }
  }
}

}  // namespace
}  // namespace millrace
