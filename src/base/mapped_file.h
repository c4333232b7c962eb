// MappedFile: a regular file mapped read-only. The bytes stay where they are as long as it lives,
// also when it is moved. The file must not be cut short by another program meanwhile.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"

namespace millrace {

class MappedFile {
 public:
  // Errors: kNotFound where there is no such file, kIo where the system refuses; a folder or an
  // empty file is an error too.
  static Result<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  // Says that `part` (of bytes()) was read and is not needed soon.
  void Release(std::span<const std::byte> part) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace millrace
