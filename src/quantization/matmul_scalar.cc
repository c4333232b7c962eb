// The definition of every product (see matmul.h for the orders of summation), in portable C++.
//
// A group of a panel is first decoded into plain codes and scales, then each output's group sum is
// formed.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/float16.h"
#include "quantization/block_formats.h"
#include "quantization/matmul_kernels.h"
#include "quantization/weight_matrix.h"

namespace millrace {
namespace {

// One row of one group: w[k] = scale * code, or as the format's formula says. `blocks` counts what
// the group holds.
struct RowGroup {
  int16_t code[256];
  int32_t scale[16];
  int32_t min[16];
  float d[8];
  float m[8];
  float dmin;
};

float Half(const uint8_t* vector, int64_t lane) {
  uint16_t h;
  std::memcpy(&h, vector + 2 * lane, sizeof(h));
  return F16ToF32(h);
}

// Byte k of a row in a run of packed dwords.
int ByteOf(const uint8_t* run, int64_t k, int64_t lane) {
  return run[(k / 4 * kPanelRows + lane) * 4 + k % 4];
}

int32_t Dot(const int16_t* codes, const int8_t* x, int n) {
  int32_t sum = 0;
  for (int k = 0; k < n; ++k) sum += codes[k] * x[k];
  return sum;
}

// Blocks of 32 with a scale in floats: how many of them the group holds.
int64_t SmallBlocks(const PanelArgs& a, int64_t group) {
  return std::min<int64_t>(8, a.columns / 32 - group * 8);
}

struct Q8_0 {
  static constexpr bool kSmallBlocks = true, kMins = false;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * kQ8GroupBytes;
    const int64_t blocks = SmallBlocks(a, group);
    for (int64_t b = 0; b < blocks; ++b) row.d[b] = Half(p + b * 32, lane);
    for (int64_t k = 0; k < 32 * blocks; ++k) {
      row.code[k] = static_cast<int16_t>(ByteOf(p + kSmallCodes, k, lane) - 128);
    }
  }
};

// Element k of blocks whose 16 bytes hold element j (low nibble) and j + 16.
int SmallNibble(const uint8_t* codes, int64_t k, int64_t lane) {
  return ByteOf(codes, k / 32 * 16 + k % 16, lane) >> (k % 32 / 16 * 4) & 15;
}

int SignedQ4(int nibble) { return nibble - 8; }
int UnsignedQ4(int nibble) { return nibble; }
int Iq4Value(int nibble) { return kIq4Values[nibble]; }
int Mxfp4Value(int nibble) { return kMxfp4Values[nibble]; }

// Q4_0, IQ4_NL and, with minimums, Q4_1.
template <int (*kValue)(int), bool kWithMins>
struct SmallQ4 {
  static constexpr bool kSmallBlocks = true, kMins = kWithMins;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * (kMins ? kQ41GroupBytes : kQ4GroupBytes);
    const uint8_t* codes = p + (kMins ? kSmallMinCodes : kSmallCodes);
    const int64_t blocks = SmallBlocks(a, group);
    for (int64_t b = 0; b < blocks; ++b) {
      row.d[b] = Half(p + b * 32, lane);
      if (kMins) row.m[b] = Half(p + kSmallMins + b * 32, lane);
    }
    for (int64_t k = 0; k < 32 * blocks; ++k) {
      row.code[k] = static_cast<int16_t>(kValue(SmallNibble(codes, k, lane)));
    }
  }
};
using Q4_0 = SmallQ4<SignedQ4, false>;
using Q4_1 = SmallQ4<UnsignedQ4, true>;
using IQ4_NL = SmallQ4<Iq4Value, false>;

struct MXFP4 {
  static constexpr bool kSmallBlocks = true, kMins = false;
  // 2^(e - 128), the codes being twice the values; the two smallest are denormal.
  static float Scale(uint32_t e) {
    return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * kMxfp4GroupBytes;
    const int64_t blocks = SmallBlocks(a, group);
    for (int64_t b = 0; b < blocks; ++b) row.d[b] = Scale(p[b * kPanelRows + lane]);
    for (int64_t k = 0; k < 32 * blocks; ++k) {
      row.code[k] = static_cast<int16_t>(Mxfp4Value(SmallNibble(p + kMxfp4Codes, k, lane)));
    }
  }
};

// Q5_0 (codes less 16) and Q5_1 (with minimums): bit j of a block's dword of high bits is that of
// element j.
template <bool kWithMins>
struct SmallQ5 {
  static constexpr bool kSmallBlocks = true, kMins = kWithMins;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * (kMins ? kQ51GroupBytes : kQ50GroupBytes);
    const uint8_t* rest = p + (kMins ? kSmallMinCodes : kSmallCodes);
    for (int64_t b = 0; b < SmallBlocks(a, group); ++b, rest += kQ5BlockBytes) {
      row.d[b] = Half(p + b * 32, lane);
      if (kMins) row.m[b] = Half(p + kSmallMins + b * 32, lane);
      for (int64_t k = 0; k < 32; ++k) {
        const int high = ByteOf(rest, k / 8, lane) >> (k % 8) & 1;
        const int code = SmallNibble(rest + 64, k, lane) | high << 4;
        row.code[32 * b + k] = static_cast<int16_t>(kMins ? code : code - 16);
      }
    }
  }
};

// d, dmin, scales and minimums, which Q4_K and Q5_K share.
void DecodeAffine(const uint8_t* p, int64_t lane, RowGroup& row) {
  row.d[0] = Half(p + kAffineD, lane);
  row.dmin = Half(p + kAffineMin, lane);
  uint8_t bytes[12];
  for (int64_t i = 0; i < 12; ++i)
    bytes[i] = static_cast<uint8_t>(ByteOf(p + kAffineScales, i, lane));
  const ScalesAndMins s = UnpackScalesAndMins(bytes);
  for (int b = 0; b < 8; ++b) {
    row.scale[2 * b] = row.scale[2 * b + 1] = s.scale[b];
    row.min[2 * b] = row.min[2 * b + 1] = s.min[b];
  }
}

int NibbleOf(const uint8_t* codes, int64_t k, int64_t lane) {
  return ByteOf(codes, k / 64 * 32 + k % 32, lane) >> (k % 64 / 32 * 4) & 15;
}

struct Q4_K {
  static constexpr bool kSmallBlocks = false, kMins = true;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * kQ4KGroupBytes;
    DecodeAffine(p, lane, row);
    for (int64_t k = 0; k < 256; ++k) {
      row.code[k] = static_cast<int16_t>(NibbleOf(p + kAffineRest, k, lane));
    }
  }
};

struct Q5_K {
  static constexpr bool kSmallBlocks = false, kMins = true;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * kQ5KGroupBytes;
    DecodeAffine(p, lane, row);
    for (int64_t k = 0; k < 256; ++k) {
      const int high = ByteOf(p + kAffineRest, k % 32, lane) >> (k / 32) & 1;
      row.code[k] = static_cast<int16_t>(NibbleOf(p + kAffineRest + 512, k, lane) | high << 4);
    }
  }
};

struct Q6_K {
  static constexpr bool kSmallBlocks = false, kMins = false;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    row.d[0] = Half(a.panel + group * 32, lane);
    const uint8_t* p = a.panel + (a.groups * 32 + 63) / 64 * 64 + group * kQ6GroupBytes;
    for (int64_t s = 0; s < 16; ++s) {
      row.scale[s] = static_cast<int8_t>(p[kQ6Scales + s * kPanelRows + lane]);
    }
    for (int64_t k = 0; k < 256; ++k) {
      const int64_t half = k / 128, quarter = k % 128 / 32, l = k % 32;
      const int low = ByteOf(p, half * 64 + quarter % 2 * 32 + l, lane) >> (quarter / 2 * 4) & 15;
      const int high = ByteOf(p + kQ6High, half * 32 + l, lane) >> (quarter * 2) & 3;
      row.code[k] = static_cast<int16_t>((low | high << 4) - 32);
    }
  }
};

// The two low bits of element k of Q2_K and Q3_K.
int CrumbOf(const uint8_t* codes, int64_t k, int64_t lane) {
  return ByteOf(codes, k / 128 * 32 + k % 32, lane) >> (k % 128 / 32 * 2) & 3;
}

struct Q2_K {
  static constexpr bool kSmallBlocks = false, kMins = true;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * kQ2KGroupBytes;
    row.d[0] = Half(p + kAffineD, lane);
    row.dmin = Half(p + kAffineMin, lane);
    for (int64_t s = 0; s < 16; ++s) {
      const int both = p[kQ2Scales + s * kPanelRows + lane];
      row.scale[s] = both & 15;
      row.min[s] = both >> 4;
    }
    for (int64_t k = 0; k < 256; ++k) {
      row.code[k] = static_cast<int16_t>(CrumbOf(p + kQ2Codes, k, lane));
    }
  }
};

struct Q3_K {
  static constexpr bool kSmallBlocks = false, kMins = false;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    row.d[0] = Half(a.panel + group * 32, lane);
    const uint8_t* p = a.panel + (a.groups * 32 + 63) / 64 * 64 + group * kQ3KGroupBytes;
    for (int64_t s = 0; s < 16; ++s) {
      const int low = ByteOf(p + kQ3Scales, s % 8, lane) >> (s / 8 * 4) & 15;
      const int top = ByteOf(p + kQ3Scales, 8 + s % 4, lane) >> (s / 4 * 2) & 3;
      row.scale[s] = (low | top << 4) - 32;
    }
    for (int64_t k = 0; k < 256; ++k) {
      const int high = ByteOf(p, k % 32, lane) >> (k / 32) & 1;
      row.code[k] = static_cast<int16_t>((CrumbOf(p + kQ3Codes, k, lane) | high << 2) - 4);
    }
  }
};

struct IQ4_XS {
  static constexpr bool kSmallBlocks = false, kMins = false;
  static void Decode(const PanelArgs& a, int64_t group, int64_t lane, RowGroup& row) {
    const uint8_t* p = a.panel + group * kIq4XsGroupBytes;
    row.d[0] = Half(p, lane);
    for (int64_t b = 0; b < 8; ++b) {
      const int low = ByteOf(p + kIq4XsLow, b / 2, lane) >> (b % 2 * 4) & 15;
      const int top = p[kIq4XsHigh + 2 * lane + b / 4] >> (b % 4 * 2) & 3;
      row.scale[2 * b] = row.scale[2 * b + 1] = (low | top << 4) - 32;
    }
    for (int64_t k = 0; k < 256; ++k) {
      row.code[k] = static_cast<int16_t>(Iq4Value(SmallNibble(p + kIq4XsCodes, k, lane)));
    }
  }
};

// y plus the group's blocks, each with its own activation scale.
template <bool kMins>
float AddSmallBlocks(const RowGroup& w, const int8_t* x, const int16_t* sums, const float* scales,
                     int64_t blocks, float y) {
  for (int64_t b = 0; b < blocks; ++b) {
    const auto dot = static_cast<float>(Dot(w.code + 32 * b, x + 32 * b, 32));
    y = __builtin_fmaf(dot, w.d[b] * scales[b], y);
    if (!kMins) continue;
    y = __builtin_fmaf(static_cast<float>(sums[2 * b] + sums[2 * b + 1]), w.m[b] * scales[b], y);
  }
  return y;
}

template <bool kMins>
float SuperBlockGroup(const RowGroup& w, const int8_t* x, const int16_t* sums) {
  int32_t i = 0, j = 0;
  for (int s = 0; s < 16; ++s) i += w.scale[s] * Dot(w.code + 16 * s, x + 16 * s, 16);
  const float g = w.d[0] * static_cast<float>(i);
  if (!kMins) return g;
  for (int s = 0; s < 16; ++s) j += w.min[s] * sums[s];
  return __builtin_fmaf(-w.dmin, static_cast<float>(j), g);
}

template <class Format>
void IntegerPanel(const PanelArgs& a) {
  for (int64_t m = 0; m < a.m; ++m) std::fill_n(a.y + m * a.y_stride, a.valid_rows, 0.0f);
  RowGroup row;
  for (int64_t lane = 0; lane < a.valid_rows; ++lane) {
    for (int64_t group = 0; group < a.groups; ++group) {
      Format::Decode(a, group, lane, row);
      const int64_t blocks = SmallBlocks(a, group);
      for (int64_t m = 0; m < a.m; ++m) {
        const int8_t* x = a.values + m * a.padded + group * 256;
        const int16_t* sums = a.sums + m * (a.padded / 16) + group * 16;
        const float* scales = a.scales + (m * a.groups + group) * a.scales_per_group;
        float& y = a.y[m * a.y_stride + lane];
        if constexpr (Format::kSmallBlocks) {
          y = AddSmallBlocks<Format::kMins>(row, x, sums, scales, blocks, y);
        } else {
          y = __builtin_fmaf(SuperBlockGroup<Format::kMins>(row, x, sums), *scales, y);
        }
      }
    }
  }
}

float LoadF32(const uint8_t* panel, int64_t k, int64_t lane) {
  float f;
  std::memcpy(&f, panel + (k * kPanelRows + lane) * 4, sizeof(f));
  return f;
}
float LoadF16(const uint8_t* panel, int64_t k, int64_t lane) { return Half(panel + k * 32, lane); }
float LoadBF16(const uint8_t* panel, int64_t k, int64_t lane) {
  uint16_t h;
  std::memcpy(&h, panel + (k / 2 * kPanelRows + lane) * 4 + k % 2 * 2, sizeof(h));
  return Bf16ToF32(h);
}

template <float (*kLoad)(const uint8_t*, int64_t, int64_t)>
void FloatPanel(const PanelArgs& a) {
  for (int64_t m = 0; m < a.m; ++m) {
    const float* x = a.x + m * a.x_stride;
    for (int64_t lane = 0; lane < a.valid_rows; ++lane) {
      float y = 0.0f;
      for (int64_t begin = 0; begin < a.columns; begin += kActivationGroup) {
        const int64_t end = std::min(begin + kActivationGroup, a.columns);
        float s[2] = {0.0f, 0.0f};
        for (int64_t k = begin; k < end; ++k) {
          s[k % 2] = __builtin_fmaf(x[k], kLoad(a.panel, k, lane), s[k % 2]);
        }
        y = y + (s[0] + s[1]);
      }
      a.y[m * a.y_stride + lane] = y;
    }
  }
}

// d = max|x| / 127 of one group of n floats (none: 0). The maximum is taken over the magnitudes'
// bits, which also finds infinities and NaNs.
float GroupScale(const float* x, int64_t n) {
  uint32_t largest = 0;
  for (int64_t k = 0; k < n; ++k) {
    largest = std::max(largest, std::bit_cast<uint32_t>(x[k]) & 0x7fffffffu);
  }
  if (largest >= 0x7f800000u) return std::bit_cast<float>(0x7fc00000u);
  return std::bit_cast<float>(largest) / 127.0f;
}

}  // namespace

namespace scalar {
void QuantizeActivations(const float* x, int64_t columns, int64_t padded, int64_t group,
                         int8_t* values, float* scales, int16_t* sums) {
  for (int64_t begin = 0; begin < padded; begin += group) {
    const int64_t n = std::min(group, columns - begin);
    const float d = GroupScale(x + begin, n);
    scales[begin / group] = d;
    for (int64_t k = 0; k < group; ++k) {
      int q = 0;
      if (k < n && d > 0.0f) {
        const float ratio = std::clamp(x[begin + k] / d, -127.0f, 127.0f);
        q = static_cast<int>(std::nearbyint(ratio));
      }
      values[begin + k] = static_cast<int8_t>(q);
    }
    for (int64_t s = 0; s < group / 16; ++s) {
      int sum = 0;
      for (int64_t k = 0; k < 16; ++k) sum += values[begin + 16 * s + k];
      sums[begin / 16 + s] = static_cast<int16_t>(sum);
    }
  }
}

}  // namespace scalar

const MatMulKernels kScalarMatMulKernels = {
    .quantize_activations = scalar::QuantizeActivations,
    .by_type =
        {
            {DType::kF32, FloatPanel<LoadF32>},
            {DType::kF16, FloatPanel<LoadF16>},
            {DType::kBF16, FloatPanel<LoadBF16>},
            {DType::kQ8_0, IntegerPanel<Q8_0>},
            {DType::kQ4_0, IntegerPanel<Q4_0>},
            {DType::kQ4_K, IntegerPanel<Q4_K>},
            {DType::kQ5_K, IntegerPanel<Q5_K>},
            {DType::kQ6_K, IntegerPanel<Q6_K>},
            {DType::kQ4_1, IntegerPanel<Q4_1>},
            {DType::kQ5_0, IntegerPanel<SmallQ5<false>>},
            {DType::kQ5_1, IntegerPanel<SmallQ5<true>>},
            {DType::kQ2_K, IntegerPanel<Q2_K>},
            {DType::kQ3_K, IntegerPanel<Q3_K>},
            {DType::kIQ4_NL, IntegerPanel<IQ4_NL>},
            {DType::kIQ4_XS, IntegerPanel<IQ4_XS>},
            {DType::kMXFP4, IntegerPanel<MXFP4>},
        },
};

}  // namespace millrace
