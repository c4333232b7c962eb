// GgufWriter: writes a GGUF version 3 file that ParseGguf reads back the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "gguf/gguf.h"

namespace millrace {

// The kinds of metadata values in the format, with the file's numbers.
enum class GgufKind : uint32_t {
  kU8 = 0, kI8 = 1, kU16 = 2, kI16 = 3, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10,
  kI64 = 11, kF64 = 12
};

// Collects metadata and tensors, then writes them in the order given. Tensor data are viewed, not copied: they must
// live until Serialize or WriteTo.
class GgufWriter {
 public:
  void AddU32(std::string_view key, uint32_t value);
  void AddU64(std::string_view key, uint64_t value);
  void AddI32(std::string_view key, int32_t value);
  void AddF32(std::string_view key, float value);
  void AddBool(std::string_view key, bool value);
  void AddString(std::string_view key, std::string_view value);
  void AddStrings(std::string_view key, std::span<const std::string_view> values);
  void AddI32s(std::string_view key, std::span<const int32_t> values);
  void AddF32s(std::string_view key, std::span<const float> values);
  // shape[0] is the contiguous dimension. data.size() must be what shape and type say (CHECK).
  void AddTensor(std::string_view name, DType type, std::span<const int64_t> shape, std::span<const std::byte> data);

  std::vector<std::byte> Serialize() const;
  // Atomic: `path` appears whole or not at all (a temporary file beside it, fsync, rename; removed on failure).
  Status WriteTo(const std::string& path) const;

 private:
  struct Entry {
    std::string key;
    std::vector<std::byte> encoded;  // kind and value
  };
  struct Tensor {
    std::string name;
    DType type;
    std::vector<int64_t> shape;
    std::span<const std::byte> data;
  };
  std::vector<std::byte> Header() const;
  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

}  // namespace millrace
