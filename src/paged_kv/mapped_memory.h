// MappedMemory: zeroed anonymous memory from the operating system, committed page by page when
// first touched, on huge pages where the system offers them. Move-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace millrace {

class MappedMemory {
 public:
  // Nothing when the system refuses. bytes >= 1.
  static std::optional<MappedMemory> Map(int64_t bytes);

  MappedMemory() = default;
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;
  ~MappedMemory() { Unmap(); }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  MappedMemory(std::byte* data, int64_t size) : data_(data), size_(size) {}
  void Unmap();

  std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace millrace
