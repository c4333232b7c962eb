// The packed form of a panel (layout R16): a byte permutation of its sixteen rows' file blocks, so
// that packing loses nothing and a row can be recovered bit for bit.
//
// A block is a sequence of fields (scales, low bits, high bits, ...), each a run of elements of 1,
// 2 or 4 bytes. Packed, a field of n elements is [n][16 rows][element]: one row per SIMD lane.
// Q8_0's codes are stored with the sign bit flipped (w + 128), since the integer dot products take
// an unsigned operand.
//
// Offsets in bytes; g is a group of 256 elements along K, b a block of 32 within it, t a dword
// within a block:
//   Q4_K  panel[g * 2304]: d [16]f16, dmin [16]f16, scales [3][16][4], codes [32][16][4]
//   Q5_K  panel[g * 2816]: the same with high bits [8][16][4] before the codes
//   Q6_K  d of all groups [groups][16]f16, padded to 64; then [g * 3328]: low [32][16][4], high
//   [16][16][4], scales
//         [16][16]i8
//   Q2_K  panel[g * 1344]: d [16]f16, dmin [16]f16, scales [16][16]u8, codes [16][16][4]
//   Q3_K  d of all groups as in Q6_K; then [g * 1728]: high [8][16][4], codes [16][16][4], scales
//         [3][16][4]
//   IQ4_XS  panel[g * 2176]: d [16]f16, high scales [16]u16, low scales [16][4], codes [32][16][4]
// Blocks of 32 in groups of eight; the last group holds all scales but only the codes it has:
//   Q8_0  panel[g * 4352]: d [8][16]f16, codes [8 b][8 t][16][4]
//   Q4_0, IQ4_NL  panel[g * 2304]: d [8][16]f16, codes [8 b][4 t][16][4]
//   Q4_1  panel[g * 2560]: d [8][16]f16, m [8][16]f16, codes [8 b][4 t][16][4]
//   Q5_0  panel[g * 2816]: d [8][16]f16, then [8 b]: high bits [16][4], codes [4 t][16][4]
//   Q5_1  panel[g * 3072]: d [8][16]f16, m [8][16]f16, then as Q5_0
//   MXFP4 panel[g * 2176]: exponents [8][16]u8, codes [8 b][4 t][16][4]
// Floats: F32 [K][16]f32, F16 [K][16]f16, BF16 [K / 2 rounded up][16][2]bf16
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace millrace {

// Raised whenever the bytes of a packed panel change, so that panels kept on disk are made anew.
inline constexpr uint32_t kPackedLayoutVersion = 1;

struct PackedField {
  int64_t block_offset = 0;  // bytes from the block's start
  int64_t bytes = 0;         // per row and block
  int64_t element = 4;       // 1, 2 or 4
  int64_t start = 0;         // of the field in the panel
  int64_t group_stride = 0;  // bytes from one group's field to the next's
  int64_t block_stride = 0;  // bytes from one block's field to the next's in a group
  uint8_t flip = 0;          // xored into every byte
};

struct PackedLayout {
  int64_t row_bytes = 0;    // of a source row
  int64_t block_bytes = 0;  // of a source block (float formats: the whole row)
  int64_t blocks = 0;       // per row
  int64_t group_blocks = 1;
  int64_t panel_bytes = 0;  // a multiple of 64
  int field_count = 0;
  std::array<PackedField, 5> fields;
};

// `type` is one of WeightMatrix::SupportedTypes(); `columns` a multiple of its block.
PackedLayout MakePackedLayout(DType type, int64_t columns);

// Packs `rows` (1 to 16) consecutive source rows into a zeroed panel.
void PackPanel(const PackedLayout& layout, const std::byte* source, int64_t rows, std::byte* panel);

// The inverse for one row (lane 0 to 15): writes layout.row_bytes bytes.
void UnpackRow(const PackedLayout& layout, const std::byte* panel, int64_t lane, std::byte* row);

}  // namespace millrace
