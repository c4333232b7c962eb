#include "base/dtype.h"

#include "base/check.h"

namespace millrace {
namespace {

constexpr DTypeInfo kTypes[] = {
    {DType::kF32, "F32", 1, 4},         {DType::kF16, "F16", 1, 2},
    {DType::kQ4_0, "Q4_0", 32, 18},     {DType::kQ4_1, "Q4_1", 32, 20},
    {DType::kQ5_0, "Q5_0", 32, 22},     {DType::kQ5_1, "Q5_1", 32, 24},
    {DType::kQ8_0, "Q8_0", 32, 34},     {DType::kQ8_1, "Q8_1", 32, 36},
    {DType::kQ2_K, "Q2_K", 256, 84},    {DType::kQ3_K, "Q3_K", 256, 110},
    {DType::kQ4_K, "Q4_K", 256, 144},   {DType::kQ5_K, "Q5_K", 256, 176},
    {DType::kQ6_K, "Q6_K", 256, 210},   {DType::kQ8_K, "Q8_K", 256, 292},
    {DType::kIQ4_NL, "IQ4_NL", 32, 18}, {DType::kIQ4_XS, "IQ4_XS", 256, 136},
    {DType::kI8, "I8", 1, 1},           {DType::kI16, "I16", 1, 2},
    {DType::kI32, "I32", 1, 4},         {DType::kI64, "I64", 1, 8},
    {DType::kF64, "F64", 1, 8},         {DType::kBF16, "BF16", 1, 2},
    {DType::kMXFP4, "MXFP4", 32, 17},
};

}  // namespace

std::optional<DTypeInfo> FindDType(uint32_t number) {
  for (const DTypeInfo& t : kTypes) {
    if (static_cast<uint32_t>(t.type) == number) return t;
  }
  return std::nullopt;
}

std::optional<DTypeInfo> FindDTypeByName(std::string_view name) {
  for (const DTypeInfo& t : kTypes) {
    if (t.name == name) return t;
  }
  return std::nullopt;
}

const DTypeInfo& InfoOf(DType type) {
  for (const DTypeInfo& t : kTypes) {
    if (t.type == type) return t;
  }
  CHECK(false && "a DType without an entry");
  __builtin_unreachable();
}

int64_t RowBytes(DType type, int64_t elements) {
  const DTypeInfo& info = InfoOf(type);
  CHECK(elements % info.block_elements == 0);
  return elements / info.block_elements * info.block_bytes;
}

}  // namespace millrace
