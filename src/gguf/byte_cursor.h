// ByteCursor: reads little-endian values from bytes, front to back, and never past their end.
//
// Invariant: offset() <= size of the bytes. A read that fails leaves the cursor where it was and
// gives an Error that names the file, the field and the byte offset.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::gguf_internal {

static_assert(std::endian::native == std::endian::little, "GGUF is read and written by memcpy");

// What is being read, for messages only: "metadata value 'general.name'" or "the key of metadata
// entry 3".
struct Field {
  std::string_view what;
  std::string_view name = {};
  std::optional<uint64_t> index = std::nullopt;
  std::string ToString() const;
};

// A name from a file, made fit for a message: quoted, at most 80 bytes, other than printable ASCII
// as \xNN.
std::string Quoted(std::string_view name);

class ByteCursor {
 public:
  // Both must outlive the cursor.
  ByteCursor(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), file_(&file) {}

  size_t offset() const { return offset_; }
  size_t left() const { return bytes_.size() - offset_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  const std::string& file() const { return *file_; }

  template <class T>
  Result<T> Read(const Field& field) {
    if (left() < sizeof(T)) return CutOff(field, sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }
  // A 64-bit length, then that many bytes.
  Result<std::string_view> ReadString(const Field& field, uint64_t least, uint64_t most);
  // A 64-bit count of elements of at least `element_bytes` each: no more than `most`, nor than the
  // bytes left can hold.
  Result<uint64_t> ReadCount(const Field& field, uint64_t element_bytes, uint64_t most);

  // "FILE: FIELD at byte offset N PROBLEM."
  Error Damaged(const Field& field, size_t offset, std::string_view problem) const;
  Error CutOff(const Field& field, uint64_t needed) const;

 private:
  std::span<const std::byte> bytes_;
  const std::string* file_;
  size_t offset_ = 0;
};

}  // namespace millrace::gguf_internal
