// The integer formats on AVX2. A group of a panel is expanded to bytes once; then each tile of up
// to four columns meets it, eight rows at a time. maddubs sums two products in 16 bits with
// saturation, so the codes are kept small enough: signed ones go through |w| and x * sign(w), and
// Format::kRun sums of pairs are added before they are widened, which stays below 2^15 for the
// largest code times 127.
#include <immintrin.h>

#include "quantization/matmul_avx2.h"

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

// One group of sixteen rows, expanded.
struct Group {
  alignas(64) uint8_t codes[64][64];   // [dword along K][16 rows][4]; signed for the signed formats
  alignas(32) int32_t scales[16][16];  // [sub-block][row]: the scale twice, as a pair of int16
  alignas(32) int32_t mins[4][16];     // pairs of int16, as in PanelArgs::tile_pairs
  alignas(32) float d[8][16];
  alignas(32) float dmin[16];
  int blocks;  // of 32
};

// Eight columns of a tile at most; `width` is the tile's own number of columns.
struct Tile {
  const int8_t* values;
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

// The sum of Format::kDwords codes times the activations, for eight rows and C columns, weighted by
// `weight` (pairs).
template <class Format, int C>
MILLRACE_INLINE void DotSubBlock(const Group& group, int64_t first_dword, int half,
                                 const Tile& tile, __m256i weight, __m256i total[C]) {
#pragma GCC unroll 8
  for (int run = 0; run < Format::kDwords / Format::kRun; ++run) {
    __m256i sums[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[c] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int t = 0; t < Format::kRun; ++t) {
      const int64_t dword = first_dword + run * Format::kRun + t;
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

template <int C>
MILLRACE_INLINE void AddGroup(const Tile& tile, int half, const __m256 g[C], float* y) {
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    float* out = y + c * kLanes + 8 * half;
    _mm256_storeu_ps(out,
                     _mm256_fmadd_ps(g[c], _mm256_set1_ps(tile.scales[c]), _mm256_loadu_ps(out)));
  }
}

// Q4_K, Q5_K and Q6_K: integer scales, one float scale.
template <class Format, int C>
__attribute__((noinline)) void SuperBlockTile(const Group& group, const Tile& tile, float* y) {
  for (int half = 0; half < 2; ++half) {
    __m256i total[C];
    __m256 g[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) total[c] = _mm256_setzero_si256();
    for (int s = 0; s < 64 / Format::kDwords; ++s) {
      DotSubBlock<Format, C>(group, s * Format::kDwords, half, tile,
                             Load(group.scales[s] + 8 * half), total);
    }
    const __m256 d = _mm256_loadu_ps(group.d[0] + 8 * half);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) g[c] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(total[c]));
    if (Format::kMins) {
      const __m256 dmin = _mm256_loadu_ps(group.dmin + 8 * half);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        __m256i mins = _mm256_setzero_si256();
        for (int p = 0; p < 4; ++p) {
          const __m256i pair = Broadcast(tile.pairs + 2 * (p * tile.width + c));
          mins = _mm256_add_epi32(mins, _mm256_madd_epi16(Load(group.mins[p] + 8 * half), pair));
        }
        g[c] = _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(mins), g[c]);
      }
    }
    AddGroup<C>(tile, half, g, y);
  }
}

// Q8_0 and Q4_0: a float scale per 32.
template <class Format, int C>
__attribute__((noinline)) void SmallBlockTile(const Group& group, const Tile& tile, float* y) {
  for (int half = 0; half < 2; ++half) {
    __m256 g[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) g[c] = _mm256_setzero_ps();
    for (int b = 0; b < group.blocks; ++b) {
      __m256i dot[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) dot[c] = _mm256_setzero_si256();
      DotSubBlock<Format, C>(group, b * 8, half, tile, _mm256_set1_epi16(1), dot);
      const __m256 d = _mm256_loadu_ps(group.d[b] + 8 * half);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) g[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), d, g[c]);
    }
    AddGroup<C>(tile, half, g, y);
  }
}

MILLRACE_INLINE int BlocksOf(const PanelArgs& a, int64_t group) {
  const int64_t rest = a.columns / 32 - group * 8;
  return static_cast<int>(rest < 8 ? rest : 8);
}

struct Q8_0 {
  static constexpr bool kSigned = true, kMins = false, kSmall = true;
  static constexpr int kDwords = 8, kRun = 1;  // 2 * 128 * 127 = 32512
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ8GroupBytes;
    const __m256i sign = _mm256_set1_epi8(-128);
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) ExpandHalves(p + 32 * b, group.d[b]);
    for (int64_t i = 0; i < group.blocks * 16; ++i) {
      Store(group.codes[0] + 32 * i, _mm256_xor_si256(Load(p + kSmallCodes + 32 * i), sign));
    }
  }
};

struct Q4_0 {
  static constexpr bool kSigned = true, kMins = false, kSmall = true;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 8 * 127 = 16256
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ4GroupBytes;
    const __m256i four = _mm256_set1_epi8(15), eight = _mm256_set1_epi8(8);
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      for (int i = 0; i < 8; ++i) {
        const __m256i both = Load(p + kSmallCodes + b * 256 + 32 * i);
        const __m256i low = _mm256_and_si256(both, four);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi32(both, 4), four);
        Store(group.codes[8 * b] + 32 * i, _mm256_sub_epi8(low, eight));
        Store(group.codes[8 * b + 4] + 32 * i, _mm256_sub_epi8(high, eight));
      }
    }
  }
};

// Scales and minimums of Q4_K and Q5_K: three dwords per row, a row per lane.
MILLRACE_INLINE void ExpandAffineScales(const uint8_t* p, Group& group) {
  const __m256i six = _mm256_set1_epi8(0x3f), four = _mm256_set1_epi8(0x0f);
  const __m256i top = _mm256_set1_epi8(0x30), pair = _mm256_set1_epi32(0x00ff00ff);
  ExpandHalves(p + kAffineD, group.d[0]);
  ExpandHalves(p + kAffineMin, group.dmin);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* at = p + kAffineScales + 32 * half;
    const __m256i s0 = Load(at), s1 = Load(at + 64), s2 = Load(at + 128);
    const __m256i low_scales = _mm256_and_si256(s0, six);
    const __m256i low_mins = _mm256_and_si256(s1, six);
    const __m256i high_scales = _mm256_or_si256(_mm256_and_si256(s2, four),
                                                _mm256_and_si256(_mm256_srli_epi32(s0, 2), top));
    const __m256i high_mins = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(s2, 4), four),
                                              _mm256_and_si256(_mm256_srli_epi32(s1, 2), top));
    for (int s = 0; s < 8; ++s) {
      const __m256i scales =
          _mm256_srl_epi32(s < 4 ? low_scales : high_scales, _mm_cvtsi32_si128(s % 4 * 8));
      const __m256i scale = _mm256_and_si256(scales, _mm256_set1_epi32(0xff));
      Store(group.scales[s] + 8 * half, TwiceInt16(scale));
    }
    Store(group.mins[0] + 8 * half, _mm256_and_si256(low_mins, pair));
    Store(group.mins[1] + 8 * half, _mm256_and_si256(_mm256_srli_epi32(low_mins, 8), pair));
    Store(group.mins[2] + 8 * half, _mm256_and_si256(high_mins, pair));
    Store(group.mins[3] + 8 * half, _mm256_and_si256(_mm256_srli_epi32(high_mins, 8), pair));
  }
}

// The nibbles of Q4_K and Q5_K: 64 half-vectors of eight rows.
MILLRACE_INLINE void ExpandNibbles(const uint8_t* p, Group& group) {
  const __m256i four = _mm256_set1_epi8(15);
  for (int i = 0; i < 64; ++i) {
    const __m256i both = Load(p + 32 * i);
    uint8_t* to = group.codes[i / 16 * 16] + i % 16 * 32;
    Store(to, _mm256_and_si256(both, four));
    Store(to + 8 * 64, _mm256_and_si256(_mm256_srli_epi32(both, 4), four));
  }
}

struct Q4_K {
  static constexpr bool kSigned = false, kMins = true, kSmall = false;
  static constexpr int kDwords = 8, kRun = 8;  // 8 * 2 * 15 * 127 = 30480
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ4KGroupBytes;
    ExpandAffineScales(p, group);
    ExpandNibbles(p + kAffineRest, group);
  }
};

struct Q5_K {
  static constexpr bool kSigned = false, kMins = true, kSmall = false;
  static constexpr int kDwords = 8, kRun = 4;  // 4 * 2 * 31 * 127 = 31496
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ5KGroupBytes;
    const __m256i one = _mm256_set1_epi8(1);
    ExpandAffineScales(p, group);
    ExpandNibbles(p + kAffineRest + 512, group);
    for (int i = 0; i < 16; ++i) {
      __m256i high = Load(p + kAffineRest + 32 * i);
      for (int s = 0; s < 8; ++s, high = _mm256_srli_epi32(high, 1)) {
        uint8_t* code = group.codes[8 * s] + 32 * i;
        const __m256i bit = _mm256_slli_epi32(_mm256_and_si256(high, one), 4);
        Store(code, _mm256_or_si256(Load(code), bit));
      }
    }
  }
};

struct Q6_K {
  static constexpr bool kSigned = true, kMins = false, kSmall = false;
  static constexpr int kDwords = 4, kRun = 2;  // 2 * 2 * 32 * 127 = 16256
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + (a.groups * 32 + 63) / 64 * 64 + index * kQ6GroupBytes;
    const __m256i four = _mm256_set1_epi8(15), two = _mm256_set1_epi8(3);
    const __m256i offset = _mm256_set1_epi8(32);
    ExpandHalves(a.panel + index * 32, group.d[0]);
    for (int i = 0; i < 32; ++i) {
      const __m128i bytes =
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + kQ6Scales + 8 * i));
      Store(group.scales[0] + 8 * i, TwiceInt16(_mm256_cvtepi8_epi32(bytes)));
    }
    for (int h = 0; h < 2; ++h) {
      for (int i = 0; i < 16; ++i) {
        const __m256i low[2] = {Load(p + h * 1024 + 32 * i), Load(p + h * 1024 + 512 + 32 * i)};
        __m256i high = Load(p + kQ6High + h * 512 + 32 * i);
        for (int q = 0; q < 4; ++q, high = _mm256_srli_epi32(high, 2)) {
          const __m256i nibble = q < 2 ? low[q % 2] : _mm256_srli_epi32(low[q % 2], 4);
          const __m256i top = _mm256_slli_epi32(_mm256_and_si256(high, two), 4);
          const __m256i code = _mm256_or_si256(_mm256_and_si256(nibble, four), top);
          Store(group.codes[h * 32 + q * 8] + 32 * i, _mm256_sub_epi8(code, offset));
        }
      }
    }
  }
};

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
                       a.tile_pairs + first * (a.padded / 32) + index * 8 * width + 2 * c,
                       a.tile_scales + first * a.groups + index * width + c, width};
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

namespace avx2 {
void PanelQ8_0(const PanelArgs& args) { IntegerPanel<Q8_0>(args); }
void PanelQ4_0(const PanelArgs& args) { IntegerPanel<Q4_0>(args); }
void PanelQ4_K(const PanelArgs& args) { IntegerPanel<Q4_K>(args); }
void PanelQ5_K(const PanelArgs& args) { IntegerPanel<Q5_K>(args); }
void PanelQ6_K(const PanelArgs& args) { IntegerPanel<Q6_K>(args); }
}  // namespace avx2

}  // namespace millrace
