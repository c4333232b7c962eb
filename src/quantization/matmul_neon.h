// Integer formats on NEON with the int8 dot product, or with MILLRACE_I8MM defined by the includer,
// with the 2x2 matrix product of i8mm. Everything is in an anonymous namespace and inlined; see
// matmul_kernels.h for why.
//
// A group of a panel is expanded to signed bytes once; then each tile of up to four columns meets
// it, four rows at a time. Integer sums are exact, so both products give the scalar twin's bits.
#pragma once

#include <arm_neon.h>

#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

#define MILLRACE_INLINE inline __attribute__((always_inline))

constexpr int64_t kLanes = 16;
constexpr int64_t kMostColumns = 256;

// One group of sixteen rows, expanded.
struct Group {
  alignas(64) int8_t codes[64][64];  // [dword along K][16 rows][4]
  int32_t scales[16][16];            // [sub-block][row]
  int32_t mins[8][16];
  float d[8][16];
  float dmin[16];
  int blocks;  // of 32
};

// Four columns of a tile at most; `width` is the tile's own number of columns.
struct Tile {
  const int8_t* values;
  const int32_t* minus_sums32;
  const float* scales;
  int64_t width;
};

MILLRACE_INLINE void ExpandHalves(const uint8_t* from, float* to) {
  for (int i = 0; i < 4; ++i) {
    const float16x4_t halves = vreinterpret_f16_u8(vld1_u8(from + 8 * i));
    vst1q_f32(to + 4 * i, vcvt_f32_f16(halves));
  }
}

MILLRACE_INLINE int32x4_t Codes(const Group& group, int64_t dword, int rows) {
  return vreinterpretq_s32_s8(vld1q_s8(group.codes[dword] + 16 * rows));
}

// The dword at `p` four times.
MILLRACE_INLINE int8x16_t Broadcast(const int8_t* p) {
  int32_t dword;
  __builtin_memcpy(&dword, p, sizeof(dword));
  return vreinterpretq_s8_s32(vdupq_n_s32(dword));
}

// dot[c]: sub-block s of four rows (4 * rows on) times column c.
template <int kDwords>
MILLRACE_INLINE int32x4_t DotColumn(const Group& group, int s, int rows, const Tile& tile, int c) {
  int32x4_t dot = vdupq_n_s32(0);
#pragma GCC unroll 8
  for (int t = 0; t < kDwords; ++t) {
    const int64_t dword = s * kDwords + t;
    dot = vdotq_s32(dot, vreinterpretq_s8_s32(Codes(group, dword, rows)),
                    Broadcast(tile.values + 4 * (dword * tile.width + c)));
  }
  return dot;
}

#if defined(MILLRACE_I8MM)
// Columns c and c + 1 of two dwords, each column's eight bytes together.
MILLRACE_INLINE int8x16_t ColumnPair(const Tile& tile, int64_t dword, int c) {
  const int8_t* p = tile.values + 4 * (dword * tile.width + c);
  const int32x2_t first = vreinterpret_s32_s8(vld1_s8(p));
  const int32x2_t second = vreinterpret_s32_s8(vld1_s8(p + 4 * tile.width));
  return vreinterpretq_s8_s32(vcombine_s32(vzip1_s32(first, second), vzip2_s32(first, second)));
}

template <int kDwords>
MILLRACE_INLINE void DotPair(const Group& group, int s, int rows, const Tile& tile, int c,
                             int32x4_t dot[2]) {
  int32x4_t rows01 = vdupq_n_s32(0), rows23 = vdupq_n_s32(0);  // [row][column]
#pragma GCC unroll 4
  for (int t = 0; t < kDwords; t += 2) {
    const int64_t dword = s * kDwords + t;
    const int32x4_t a = Codes(group, dword, rows), b = Codes(group, dword + 1, rows);
    const int8x16_t x = ColumnPair(tile, dword, c);
    rows01 = vmmlaq_s32(rows01, vreinterpretq_s8_s32(vzip1q_s32(a, b)), x);
    rows23 = vmmlaq_s32(rows23, vreinterpretq_s8_s32(vzip2q_s32(a, b)), x);
  }
  dot[0] = vuzp1q_s32(rows01, rows23);
  dot[1] = vuzp2q_s32(rows01, rows23);
}
#endif

template <int kDwords, int C>
MILLRACE_INLINE void DotSubBlock(const Group& group, int s, int rows, const Tile& tile,
                                 int32x4_t dot[C]) {
  int c = 0;
#if defined(MILLRACE_I8MM)
  for (; c + 1 < C; c += 2) DotPair<kDwords>(group, s, rows, tile, c, dot + c);
#endif
  for (; c < C; ++c) dot[c] = DotColumn<kDwords>(group, s, rows, tile, c);
}

template <int C>
MILLRACE_INLINE void AddGroup(const Tile& tile, int rows, const float32x4_t g[C], float* y) {
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    float* out = y + c * kLanes + 4 * rows;
    vst1q_f32(out, vfmaq_f32(vld1q_f32(out), g[c], vdupq_n_f32(tile.scales[c])));
  }
}

// Integer scales, one float scale.
template <class Format, int C>
__attribute__((noinline)) void SuperBlockTile(const Group& group, const Tile& tile, float* y) {
  for (int rows = 0; rows < 4; ++rows) {
    int32x4_t total[C], dot[C];
    float32x4_t g[C];
    for (int c = 0; c < C; ++c) total[c] = vdupq_n_s32(0);
    for (int s = 0; s < 64 / Format::kDwords; ++s) {
      const int32x4_t scale = vld1q_s32(group.scales[s] + 4 * rows);
      DotSubBlock<Format::kDwords, C>(group, s, rows, tile, dot);
      for (int c = 0; c < C; ++c) total[c] = vmlaq_s32(total[c], dot[c], scale);
    }
    const float32x4_t d = vld1q_f32(group.d[0] + 4 * rows);
    for (int c = 0; c < C; ++c) {
      g[c] = vmulq_f32(d, vcvtq_f32_s32(total[c]));
      if (!Format::kMins) continue;
      int32x4_t minus_mins = vdupq_n_s32(0);
      for (int b = 0; b < 8; ++b) {
        minus_mins = vmlaq_n_s32(minus_mins, vld1q_s32(group.mins[b] + 4 * rows),
                                 tile.minus_sums32[b * tile.width + c]);
      }
      g[c] = vfmaq_f32(g[c], vld1q_f32(group.dmin + 4 * rows), vcvtq_f32_s32(minus_mins));
    }
    AddGroup<C>(tile, rows, g, y);
  }
}

// A float scale per 32.
template <class Format, int C>
__attribute__((noinline)) void SmallBlockTile(const Group& group, const Tile& tile, float* y) {
  for (int rows = 0; rows < 4; ++rows) {
    int32x4_t dot[C];
    float32x4_t sum[C];
    for (int c = 0; c < C; ++c) sum[c] = vld1q_f32(y + c * kLanes + 4 * rows);
    for (int b = 0; b < group.blocks; ++b) {
      DotSubBlock<8, C>(group, b, rows, tile, dot);
      const float32x4_t d = vld1q_f32(group.d[b] + 4 * rows);
      for (int c = 0; c < C; ++c) {
        const float32x4_t scale = vdupq_n_f32(tile.scales[b * tile.width + c]);
        sum[c] = vfmaq_f32(sum[c], vcvtq_f32_s32(dot[c]), vmulq_f32(d, scale));
      }
    }
    for (int c = 0; c < C; ++c) vst1q_f32(y + c * kLanes + 4 * rows, sum[c]);
  }
}

MILLRACE_INLINE int BlocksOf(const PanelArgs& a, int64_t group) {
  const int64_t rest = a.columns / 32 - group * 8;
  return static_cast<int>(rest < 8 ? rest : 8);
}

MILLRACE_INLINE void Store(int8_t* to, uint8x16_t codes, int offset) {
  vst1q_s8(to, vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(static_cast<int8_t>(offset))));
}

MILLRACE_INLINE uint8x16_t Low(uint8x16_t v) { return vandq_u8(v, vdupq_n_u8(15)); }
MILLRACE_INLINE uint8x16_t High(uint8x16_t v) { return vshrq_n_u8(v, 4); }

struct Q8_0 {
  static constexpr bool kSmall = true, kMins = false;
  static constexpr int kDwords = 8;
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ8GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) ExpandHalves(p + 32 * b, group.d[b]);
    for (int64_t i = 0; i < group.blocks * 32; ++i) {
      Store(group.codes[0] + 16 * i, vld1q_u8(p + kSmallCodes + 16 * i), -128);
    }
  }
};

// Q4_0's offset, or IQ4_NL's table.
template <bool kTable>
struct SmallQ4 {
  static constexpr bool kSmall = true, kMins = false;
  static constexpr int kDwords = 8;
  MILLRACE_INLINE static int8x16_t Values(uint8x16_t nibbles) {
    if (kTable) return vqtbl1q_s8(vld1q_s8(kIq4Values), nibbles);
    return vsubq_s8(vreinterpretq_s8_u8(nibbles), vdupq_n_s8(8));
  }
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * kQ4GroupBytes;
    group.blocks = BlocksOf(a, index);
    for (int b = 0; b < group.blocks; ++b) {
      ExpandHalves(p + 32 * b, group.d[b]);
      for (int i = 0; i < 16; ++i) {
        const uint8x16_t both = vld1q_u8(p + kSmallCodes + b * 256 + 16 * i);
        vst1q_s8(group.codes[8 * b] + 16 * i, Values(Low(both)));
        vst1q_s8(group.codes[8 * b + 4] + 16 * i, Values(High(both)));
      }
    }
  }
};
using Q4_0 = SmallQ4<false>;
using IQ4_NL = SmallQ4<true>;

// Scales and minimums of Q4_K and Q5_K: three dwords per row, a row per lane.
MILLRACE_INLINE void ExpandAffineScales(const uint8_t* p, Group& group) {
  ExpandHalves(p + kAffineD, group.d[0]);
  ExpandHalves(p + kAffineMin, group.dmin);
  const uint8_t* bytes = p + kAffineScales;
  for (int r = 0; r < kLanes; ++r) {
    for (int j = 0; j < 4; ++j) {
      const int s = bytes[4 * r + j], m = bytes[64 + 4 * r + j], both = bytes[128 + 4 * r + j];
      group.scales[j][r] = s & 63;
      group.mins[j][r] = m & 63;
      group.scales[j + 4][r] = (both & 15) | (s >> 6) << 4;
      group.mins[j + 4][r] = both >> 4 | (m >> 6) << 4;
    }
  }
}

// kHigh: Q5_K, whose fifth bits come before the nibbles.
template <bool kHigh>
struct Affine {
  static constexpr bool kSmall = false, kMins = true;
  static constexpr int kDwords = 8;
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + index * (kHigh ? kQ5KGroupBytes : kQ4KGroupBytes);
    ExpandAffineScales(p, group);
    const uint8_t* high = p + kAffineRest;
    const uint8_t* codes = kHigh ? high + 512 : high;
    for (int b = 0; b < 8; ++b) {
      for (int i = 0; i < 32; ++i) {
        const uint8x16_t both = vld1q_u8(codes + b / 2 * 512 + 16 * i);
        uint8x16_t code = b % 2 == 0 ? Low(both) : High(both);
        if (kHigh) {
          const uint8x16_t bit =
              vtstq_u8(vld1q_u8(high + 16 * i), vdupq_n_u8(static_cast<uint8_t>(1 << b)));
          code = vorrq_u8(code, vandq_u8(bit, vdupq_n_u8(16)));
        }
        Store(group.codes[8 * b] + 16 * i, code, 0);
      }
    }
  }
};
using Q4_K = Affine<false>;
using Q5_K = Affine<true>;

struct Q6_K {
  static constexpr bool kSmall = false, kMins = false;
  static constexpr int kDwords = 4;
  static void Expand(const PanelArgs& a, int64_t index, Group& group) {
    const uint8_t* p = a.panel + (a.groups * 32 + 63) / 64 * 64 + index * kQ6GroupBytes;
    ExpandHalves(a.panel + index * 32, group.d[0]);
    for (int i = 0; i < 256; ++i) {
      group.scales[i / 16][i % 16] = static_cast<int8_t>(p[kQ6Scales + i]);
    }
    for (int h = 0; h < 2; ++h) {
      for (int i = 0; i < 32; ++i) {
        const uint8x16_t high = vld1q_u8(p + kQ6High + h * 512 + 16 * i);
        for (int q = 0; q < 4; ++q) {
          const uint8x16_t both = vld1q_u8(p + h * 1024 + q % 2 * 512 + 16 * i);
          const uint8x16_t top = vandq_u8(
              vshlq_u8(high, vdupq_n_s8(static_cast<int8_t>(4 - 2 * q))), vdupq_n_u8(0x30));
          const uint8x16_t code = vorrq_u8(q < 2 ? Low(both) : High(both), top);
          Store(group.codes[h * 32 + q * 8] + 16 * i, code, 32);
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
    const Tile tile = {a.tile_values + first * a.padded + index * 256 * width + 4 * c,
                       a.tile_minus_sums32 + first * (a.padded / 32) + index * 8 * width + c,
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
  float y[kMostColumns * kLanes];
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
