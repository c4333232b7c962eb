#include "paged_kv/mapped_memory.h"

#include <sys/mman.h>

#include <utility>

#include "base/check.h"

namespace millrace {

std::optional<MappedMemory> MappedMemory::Map(int64_t bytes) {
  CHECK(bytes >= 1);
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return std::nullopt;
#ifdef MADV_HUGEPAGE
  // Only advice: without huge pages everything works, a little slower.
  static_cast<void>(madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE));
#endif
  return MappedMemory(static_cast<std::byte*>(memory), bytes);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  if (this != &other) {
    Unmap();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void MappedMemory::Unmap() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(size_));
}

}  // namespace millrace
