#include "quantization/packed_layout.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "quantization/matmul_kernels.h"
#include "quantization/weight_matrix.h"

namespace millrace {
namespace {

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

void AddField(PackedLayout& layout, const PackedField& field) {
  layout.fields[static_cast<size_t>(layout.field_count++)] = field;
}

// Floats: one block, the row.
void LayOutFloats(PackedLayout& layout, int64_t element) {
  layout.block_bytes = layout.row_bytes;
  layout.blocks = 1;
  AddField(layout, {0, layout.row_bytes, element, 0, 0, 0, 0});
  layout.panel_bytes = RoundUp(RoundUp(layout.row_bytes, element) * kPanelRows, 64);
}

// Blocks of 32: a run of 2-byte (or, for MXFP4, 1-byte) scales, perhaps minimums, perhaps a dword
// of high bits, codes.
struct SmallBlock {
  int64_t scale_bytes = 2;
  bool min = false;
  int64_t high_bytes = 0;
  int64_t code_bytes = 16;
  uint8_t flip = 0;
};

void LayOutSmallBlocks(PackedLayout& layout, const SmallBlock& block) {
  layout.group_blocks = 8;
  const int64_t scales = block.scale_bytes * kPanelRows;  // of one block
  const int64_t header = 8 * scales * (block.min ? 2 : 1);
  const int64_t block_codes = (block.high_bytes + block.code_bytes) * kPanelRows;
  const int64_t group_bytes = header + 8 * block_codes;
  AddField(layout, {0, block.scale_bytes, block.scale_bytes, 0, group_bytes, scales, 0});
  int64_t offset = block.scale_bytes;
  if (block.min) {
    AddField(layout, {offset, 2, 2, 8 * scales, group_bytes, scales, 0});
    offset += 2;
  }
  if (block.high_bytes > 0) {
    AddField(layout, {offset, block.high_bytes, 4, header, group_bytes, block_codes, 0});
    offset += block.high_bytes;
  }
  AddField(layout, {offset, block.code_bytes, 4, header + block.high_bytes * kPanelRows,
                    group_bytes, block_codes, block.flip});
  const int64_t tail = layout.blocks % 8;
  layout.panel_bytes =
      layout.blocks / 8 * group_bytes + (tail == 0 ? 0 : header + tail * block_codes);
}

// Q4_K and Q5_K; the latter has 32 bytes of high bits.
void LayOutAffine(PackedLayout& layout, int64_t high_bytes) {
  const int64_t group_bytes = layout.block_bytes * kPanelRows;
  AddField(layout, {0, 2, 2, kAffineD, group_bytes, 0, 0});
  AddField(layout, {2, 2, 2, kAffineMin, group_bytes, 0, 0});
  AddField(layout, {4, 12, 4, kAffineScales, group_bytes, 0, 0});
  if (high_bytes > 0) AddField(layout, {16, high_bytes, 4, kAffineRest, group_bytes, 0, 0});
  AddField(layout,
           {16 + high_bytes, 128, 4, kAffineRest + high_bytes * kPanelRows, group_bytes, 0, 0});
  layout.panel_bytes = layout.blocks * group_bytes;
}

void LayOutQ6_K(PackedLayout& layout) {
  const int64_t header = RoundUp(layout.blocks * 2 * kPanelRows, 64);
  AddField(layout, {0, 128, 4, header, kQ6GroupBytes, 0, 0});
  AddField(layout, {128, 64, 4, header + kQ6High, kQ6GroupBytes, 0, 0});
  AddField(layout, {192, 16, 1, header + kQ6Scales, kQ6GroupBytes, 0, 0});
  AddField(layout, {208, 2, 2, 0, 2 * kPanelRows, 0, 0});
  layout.panel_bytes = header + layout.blocks * kQ6GroupBytes;
}

void LayOutQ2_K(PackedLayout& layout) {
  AddField(layout, {80, 2, 2, kAffineD, kQ2KGroupBytes, 0, 0});
  AddField(layout, {82, 2, 2, kAffineMin, kQ2KGroupBytes, 0, 0});
  AddField(layout, {0, 16, 1, kQ2Scales, kQ2KGroupBytes, 0, 0});
  AddField(layout, {16, 64, 4, kQ2Codes, kQ2KGroupBytes, 0, 0});
  layout.panel_bytes = layout.blocks * kQ2KGroupBytes;
}

void LayOutQ3_K(PackedLayout& layout) {
  const int64_t header = RoundUp(layout.blocks * 2 * kPanelRows, 64);
  AddField(layout, {0, 32, 4, header, kQ3KGroupBytes, 0, 0});
  AddField(layout, {32, 64, 4, header + kQ3Codes, kQ3KGroupBytes, 0, 0});
  AddField(layout, {96, 12, 4, header + kQ3Scales, kQ3KGroupBytes, 0, 0});
  AddField(layout, {108, 2, 2, 0, 2 * kPanelRows, 0, 0});
  layout.panel_bytes = header + layout.blocks * kQ3KGroupBytes;
}

void LayOutIQ4_XS(PackedLayout& layout) {
  AddField(layout, {0, 2, 2, 0, kIq4XsGroupBytes, 0, 0});
  AddField(layout, {2, 2, 2, kIq4XsHigh, kIq4XsGroupBytes, 0, 0});
  AddField(layout, {4, 4, 4, kIq4XsLow, kIq4XsGroupBytes, 0, 0});
  AddField(layout, {8, 128, 4, kIq4XsCodes, kIq4XsGroupBytes, 0, 0});
  layout.panel_bytes = layout.blocks * kIq4XsGroupBytes;
}

int64_t FieldStart(const PackedLayout& layout, const PackedField& field, int64_t block) {
  return field.start + block / layout.group_blocks * field.group_stride +
         block % layout.group_blocks * field.block_stride;
}

// Four dwords; GCC and Clang make the machine's shuffles of it.
typedef uint32_t FourDwords __attribute__((vector_size(16)));

FourDwords LoadDwords(const std::byte* from) {
  FourDwords v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

// Sixteen dwords of sixteen rows, transposed four by four: 16 bytes of each row to four runs of
// [16][4], at `to`.
void TransposeFourDwords(const std::byte* from, int64_t stride, std::byte* to) {
  for (int64_t r = 0; r < kPanelRows; r += 4) {
    const std::byte* row = from + r * stride;
    const FourDwords a = LoadDwords(row), b = LoadDwords(row + stride);
    const FourDwords c = LoadDwords(row + 2 * stride), d = LoadDwords(row + 3 * stride);
    const FourDwords ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const FourDwords cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const FourDwords ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const FourDwords cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const FourDwords out[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                               __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                               __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                               __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
    for (int64_t i = 0; i < 4; ++i) std::memcpy(to + i * 64 + r * 4, &out[i], 16);
  }
}

// rows x n elements of kElement bytes, `stride` bytes apart, to [n][16][kElement]; or back.
template <int64_t kElement>
void Interleave(const std::byte* from, int64_t stride, int64_t rows, int64_t bytes, std::byte* to) {
  for (int64_t r = 0; r < rows; ++r) {
    const std::byte* row = from + r * stride;
    std::byte* lane = to + r * kElement;
    int64_t i = 0;
    for (; i + kElement <= bytes; i += kElement)
      std::memcpy(lane + i * kPanelRows, row + i, kElement);
    // BF16 with odd K: half of the last pair, the other half stays zero.
    if (i < bytes) std::memcpy(lane + i * kPanelRows, row + i, static_cast<size_t>(bytes - i));
  }
}

template <int64_t kElement>
void Deinterleave(const std::byte* lane, int64_t bytes, std::byte* row) {
  for (int64_t i = 0; i < bytes; i += kElement) {
    std::memcpy(row + i, lane + i * kPanelRows, static_cast<size_t>(std::min(kElement, bytes - i)));
  }
}

void Flip(std::byte* bytes, int64_t count, uint8_t mask) {
  if (mask == 0) return;
  for (int64_t i = 0; i < count; ++i) bytes[i] ^= std::byte{mask};
}

}  // namespace

PackedLayout MakePackedLayout(DType type, int64_t columns) {
  PackedLayout layout;
  const DTypeInfo& info = InfoOf(type);
  layout.row_bytes = RowBytes(type, columns);
  layout.block_bytes = info.block_bytes;
  layout.blocks = columns / info.block_elements;
  switch (type) {
    case DType::kF32:
    case DType::kBF16:
      LayOutFloats(layout, 4);
      break;
    case DType::kF16:
      LayOutFloats(layout, 2);
      break;
    case DType::kQ8_0:
      LayOutSmallBlocks(layout, {.code_bytes = 32, .flip = 0x80});
      break;
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      LayOutSmallBlocks(layout, {});
      break;
    case DType::kQ4_1:
      LayOutSmallBlocks(layout, {.min = true});
      break;
    case DType::kQ5_0:
      LayOutSmallBlocks(layout, {.high_bytes = 4});
      break;
    case DType::kQ5_1:
      LayOutSmallBlocks(layout, {.min = true, .high_bytes = 4});
      break;
    case DType::kMXFP4:
      LayOutSmallBlocks(layout, {.scale_bytes = 1});
      break;
    case DType::kQ2_K:
      LayOutQ2_K(layout);
      break;
    case DType::kQ3_K:
      LayOutQ3_K(layout);
      break;
    case DType::kIQ4_XS:
      LayOutIQ4_XS(layout);
      break;
    case DType::kQ4_K:
      LayOutAffine(layout, 0);
      break;
    case DType::kQ5_K:
      LayOutAffine(layout, 32);
      break;
    case DType::kQ6_K:
      LayOutQ6_K(layout);
      break;
    default:
      CHECK(false && "a type without a packed layout");
  }
  return layout;
}

void PackPanel(const PackedLayout& layout, const std::byte* source, int64_t rows,
               std::byte* panel) {
  for (int64_t block = 0; block < layout.blocks; ++block) {
    for (int f = 0; f < layout.field_count; ++f) {
      const PackedField& field = layout.fields[static_cast<size_t>(f)];
      const std::byte* from = source + block * layout.block_bytes + field.block_offset;
      std::byte* to = panel + FieldStart(layout, field, block);
      if (field.element == 4) {
        // All sixteen rows: quick for the whole steps of 16 bytes.
        const int64_t quick = rows == kPanelRows ? field.bytes / 16 * 16 : 0;
        for (int64_t i = 0; i < quick; i += 16) {
          TransposeFourDwords(from + i, layout.row_bytes, to + i * kPanelRows);
        }
        Interleave<4>(from + quick, layout.row_bytes, rows, field.bytes - quick,
                      to + quick * kPanelRows);
      } else if (field.element == 2) {
        Interleave<2>(from, layout.row_bytes, rows, field.bytes, to);
      } else {
        Interleave<1>(from, layout.row_bytes, rows, field.bytes, to);
      }
      Flip(to, field.bytes * kPanelRows, field.flip);
    }
  }
}

void UnpackRow(const PackedLayout& layout, const std::byte* panel, int64_t lane, std::byte* row) {
  for (int64_t block = 0; block < layout.blocks; ++block) {
    for (int f = 0; f < layout.field_count; ++f) {
      const PackedField& field = layout.fields[static_cast<size_t>(f)];
      const std::byte* from = panel + FieldStart(layout, field, block) + lane * field.element;
      std::byte* to = row + block * layout.block_bytes + field.block_offset;
      if (field.element == 4) {
        Deinterleave<4>(from, field.bytes, to);
      } else if (field.element == 2) {
        Deinterleave<2>(from, field.bytes, to);
      } else {
        Deinterleave<1>(from, field.bytes, to);
      }
      Flip(to, field.bytes, field.flip);
    }
  }
}

}  // namespace millrace
