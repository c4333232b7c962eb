// MappedMemory: zeroed anonymous memory from the operating system, committed page by page when
// first touched, on huge pages where the system grants them. Move-only. Begins at a border of huge
// pages, between guard pages, so that running over an end faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace millrace {

class MappedMemory {
 public:
  // Nothing when the system refuses. bytes >= 1.
  static std::optional<MappedMemory> Map(int64_t bytes);

  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;
  ~MappedMemory() { Unmap(); }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

  // Of its pages, what is in physical memory now, and of that on huge pages, as the system reports
  // it (/proc/self/smaps); nothing where it does not. Takes a while: for a report, not for a step.
  struct Residence {
    int64_t resident_bytes = 0;
    int64_t huge_bytes = 0;
  };
  std::optional<Residence> residence() const;
  // Whether the system grants huge pages, as far as it has some when a page is first touched.
  bool huge_pages() const { return huge_pages_; }

 private:
  MappedMemory() = default;
  void Unmap();

  std::byte* base_ = nullptr;  // what the system gave: guards and all
  int64_t base_size_ = 0;
  std::byte* data_ = nullptr;
  int64_t size_ = 0;
  bool huge_pages_ = false;
};

}  // namespace millrace
