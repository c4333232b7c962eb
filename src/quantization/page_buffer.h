// PageBuffer: zeroed bytes in pages of their own, huge ones (2 MiB) where the system grants them,
// so that a sweep over gigabytes of weights does not wait for the translation of addresses.
// Move-only. Pages that are never written cost no memory, and the first writer's thread pays for
// zeroing them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "base/check.h"

namespace millrace {

class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    CHECK(bytes <= size_t{1} << 48);
    const size_t spare = bytes >= kHugePage ? kHugePage : 0;  // to begin on a huge page's border
    mapped_ = bytes + spare;
    void* memory =
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(memory);
    data_ = base_;
    if (spare == 0) return;
    const size_t past = reinterpret_cast<uintptr_t>(base_) % kHugePage;
    if (past != 0) data_ += kHugePage - past;
    // Whole huge pages only: the tail stays in small ones. A refusal changes nothing but speed.
    (void)madvise(data_, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
  PageBuffer(PageBuffer&& other) noexcept { Swap(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    PageBuffer taken(std::move(other));
    Swap(taken);
    return *this;
  }
  ~PageBuffer() {
    if (base_ != nullptr) munmap(base_, mapped_);
  }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;

  void Swap(PageBuffer& other) {
    std::swap(base_, other.base_);
    std::swap(data_, other.data_);
    std::swap(mapped_, other.mapped_);
    std::swap(bytes_, other.bytes_);
  }

  std::byte* base_ = nullptr;
  std::byte* data_ = nullptr;
  size_t mapped_ = 0;
  size_t bytes_ = 0;
};

}  // namespace millrace
