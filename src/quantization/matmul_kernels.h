// The border between this module's baseline code and its kernels: plain data only, since the
// kernels are compiled for other instruction sets and must not instantiate or inline anything that
// baseline code shares.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace millrace {

// Bytes within a packed group; see packed_layout.h.
constexpr int64_t kSmallCodes = 256;  // blocks of 32: what follows eight vectors of d
constexpr int64_t kSmallMins = 256;   // Q4_1, Q5_1: eight vectors of m
constexpr int64_t kSmallMinCodes = 512;
constexpr int64_t kMxfp4Codes = 128;  // after eight vectors of one-byte exponents
constexpr int64_t kQ8GroupBytes = 4352;
constexpr int64_t kQ4GroupBytes = 2304;  // Q4_0, IQ4_NL
constexpr int64_t kQ41GroupBytes = 2560;
constexpr int64_t kQ50GroupBytes = 2816;
constexpr int64_t kQ51GroupBytes = 3072;
constexpr int64_t kMxfp4GroupBytes = 2176;
constexpr int64_t kQ5BlockBytes = 320;  // Q5_0, Q5_1: high bits, then codes at 64
constexpr int64_t kAffineD = 0;         // Q4_K, Q5_K, Q2_K
constexpr int64_t kAffineMin = 32;
constexpr int64_t kAffineScales = 64;
constexpr int64_t kAffineRest = 256;  // Q4_K: the codes. Q5_K: the high bits, then the codes at 768
constexpr int64_t kQ4KGroupBytes = 2304;
constexpr int64_t kQ5KGroupBytes = 2816;
constexpr int64_t kQ2Scales = 64;
constexpr int64_t kQ2Codes = 320;
constexpr int64_t kQ2KGroupBytes = 1344;
constexpr int64_t kQ3Codes = 512;  // after the high bits
constexpr int64_t kQ3Scales = 1536;
constexpr int64_t kQ3KGroupBytes = 1728;
constexpr int64_t kQ6High = 2048;
constexpr int64_t kQ6Scales = 3072;
constexpr int64_t kQ6GroupBytes = 3328;
constexpr int64_t kIq4XsHigh = 32;
constexpr int64_t kIq4XsLow = 64;
constexpr int64_t kIq4XsCodes = 128;
constexpr int64_t kIq4XsGroupBytes = 2176;

// What the sixteen codes of IQ4_NL and IQ4_XS, and those of MXFP4 (twice the values), stand for.
alignas(16) constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
alignas(16) constexpr int8_t kMxfp4Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};

// Elements of K that share one activation scale: for weights in super-blocks, and for weights in
// blocks of 32.
constexpr int64_t kActivationGroup = 256;
constexpr int64_t kActivationBlock = 32;
constexpr int64_t kTileColumns = 4;  // activation rows side by side in a tile

// Panels of weights (16 rows each) times M activation rows.
//
// Row-major activations: values [M][padded], sums [M][padded / 16], scales [M][groups *
// scales_per_group], x [M] rows x_stride apart. Tiles: the rows in tiles of 4, the last one having
// C = M mod 4 (or 4) columns. A tile holds values [padded / 4][C][4], and, C columns each, minus
// the sums over 16 [padded / 16][C], minus the sums over 32 [padded / 32][C], pairs of int16 sums
// over 32 [groups][4][C] (of the sub-blocks 0 2, 1 3, 4 6 and 5 7) and scales [groups *
// scales_per_group][C]. The tiles follow each other without gaps, so tile t of anything with n
// elements per row begins at 4 * t * n. Weights in blocks of 32 get a scale per 32 and neither sums
// over 16 in tiles nor pairs; float weights get x alone.
struct PanelArgs {
  const uint8_t* panel = nullptr;
  int64_t panels = 1;       // one after the other at `panel`; at most TypedKernel::panels
  int64_t panel_bytes = 0;  // from one to the next
  int64_t columns = 0;      // K
  int64_t padded = 0;       // K rounded up to whole groups
  int64_t groups = 0;       // padded / 256
  int64_t scales_per_group = 0;
  int64_t m = 0;  // activation rows, M
  const float* x = nullptr;
  int64_t x_stride = 0;
  const int8_t* values = nullptr;
  const int16_t* sums = nullptr;
  const float* scales = nullptr;
  const int8_t* tile_values = nullptr;
  const int32_t* tile_minus_sums16 = nullptr;
  const int32_t* tile_minus_sums32 = nullptr;
  const int16_t* tile_pairs = nullptr;
  const float* tile_scales = nullptr;
  float* y = nullptr;  // the first panel's first output column of activation row 0
  int64_t y_stride = 0;
  int64_t valid_rows = 0;  // 1 to 16: of the last panel, only these outputs are written
};
using PanelKernel = void (*)(const PanelArgs& args);
struct TypedKernel {
  DType type{};
  PanelKernel kernel = nullptr;
  int64_t panels = 1;  // that it takes together, when there are so many
};

// x [columns] to int8 values [padded] (zero after columns), scales [padded / group] and sums
// [padded / 16]. padded is a multiple of 256, group 32 or 256.
using QuantizeActivationsKernel = void (*)(const float* x, int64_t columns, int64_t padded,
                                           int64_t group, int8_t* values, float* scales,
                                           int16_t* sums);

// Does `steps` times as many independent 8-bit multiply-adds as fill the machine's units and gives
// their number.
using Int8PeakKernel = int64_t (*)(int64_t steps);

struct MatMulKernels {
  QuantizeActivationsKernel quantize_activations = nullptr;
  Int8PeakKernel int8_peak = nullptr;
  TypedKernel by_type[16];  // in any order; the scalar table has them all
};

namespace scalar {
void QuantizeActivations(const float* x, int64_t columns, int64_t padded, int64_t group,
                         int8_t* values, float* scales, int16_t* sums);
}  // namespace scalar

// The table's, or where it has none, the scalar kernel; its `kernel` is null for a type that none
// takes.
TypedKernel KernelFor(const MatMulKernels& kernels, DType type);

extern const MatMulKernels kScalarMatMulKernels;
extern const MatMulKernels kAvx2MatMulKernels;
extern const MatMulKernels kAvxVnniMatMulKernels;
extern const MatMulKernels kAvx512MatMulKernels;
extern const MatMulKernels kNeonDotMatMulKernels;
extern const MatMulKernels kNeonI8mmMatMulKernels;

}  // namespace millrace
