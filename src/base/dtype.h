// The tensor element types of GGUF, their block sizes and bytes. The numbers are the file format's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace {

enum class DType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ4_NL = 20,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ4_XS = 23,
  kBF16 = 30,
  kMXFP4 = 39,
};

struct DTypeInfo {
  DType type;
  std::string_view name;   // as GGUF tools write it: "Q4_K"
  int32_t block_elements;  // elements per block; a row holds a whole number of blocks
  int32_t block_bytes;     // bytes per block
};

// Nothing for a number that is no type we know the size of.
std::optional<DTypeInfo> FindDType(uint32_t number);
std::optional<DTypeInfo> FindDTypeByName(std::string_view name);
// For a DType value, which always has an entry.
const DTypeInfo& InfoOf(DType type);
inline std::string_view NameOf(DType type) { return InfoOf(type).name; }
// Bytes of a row of `elements`, which must be a multiple of the type's block_elements.
int64_t RowBytes(DType type, int64_t elements);

}  // namespace millrace
