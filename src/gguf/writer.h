// GgufWriter: writes a GGUF version 3 file that ParseGguf reads back the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "gguf/gguf.h"

namespace millrace {

// Collects metadata and tensors, then writes them in the order given. Tensor data are viewed, not
// copied: they must live until Serialize or WriteTo. Keys and tensor names must be unique, 1 to
// 65535 bytes long (CHECK). Tensors are aligned to 32 bytes, or to "general.alignment" where AddU32
// gave one (CHECK: a power of two).
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
  // A value as GgufFile::RawValue gives it: copies metadata of any kind unchanged. Leaves out
  // "general.alignment": the source's layout is not this file's.
  void AddRaw(std::string_view key, std::span<const std::byte> kind_and_value);
  // shape[0] is the contiguous dimension. data.size() must be what shape and type say (CHECK).
  void AddTensor(std::string_view name, DType type, std::span<const int64_t> shape,
                 std::span<const std::byte> data);
  // The same for data that are made when they are needed: `produce` is given a buffer of exactly
  // the tensor's bytes, once per Serialize or WriteTo, tensor after tensor, so that a file larger
  // than memory can be written.
  void AddTensor(std::string_view name, DType type, std::span<const int64_t> shape,
                 std::function<void(std::span<std::byte>)> produce);

  // Of all tensors' data, without header and padding.
  size_t tensor_bytes() const;
  std::vector<std::byte> Serialize() const;
  // Atomic: `path` appears whole or not at all (a temporary file beside it, fsync, rename; removed
  // on failure).
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
    size_t bytes;
    std::span<const std::byte> data;  // where nothing produces them
    std::function<void(std::span<std::byte>)> produce;
  };
  void AddTensorEntry(Tensor tensor);
  // The tensor's data, in `scratch` if they are produced.
  static std::span<const std::byte> DataOf(const Tensor& tensor, std::vector<std::byte>& scratch);
  void AddEntry(std::string_view key, std::vector<std::byte> encoded);
  // Everything before the tensors' data, padded to the alignment.
  std::vector<std::byte> Header() const;
  size_t PaddingAfter(size_t bytes) const { return (alignment_ - bytes % alignment_) % alignment_; }
  size_t alignment_ = 32;
  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

}  // namespace millrace
