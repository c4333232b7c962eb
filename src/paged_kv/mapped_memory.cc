#include "paged_kv/mapped_memory.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t RoundUp(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

// The kernel takes the advice even where an administrator has turned huge pages off.
bool HugePagesAreOn() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string choices;
  return std::getline(file, choices) && choices.find("[never]") == std::string::npos;
}

}  // namespace

std::optional<MappedMemory> MappedMemory::Map(int64_t bytes) {
  CHECK(bytes >= 1);
  if (bytes > std::numeric_limits<int64_t>::max() - 2 * kHugePage) return std::nullopt;
  const int64_t wanted = RoundUp(bytes, kPage);
  MappedMemory memory;
  memory.base_size_ = wanted + kHugePage + 2 * kPage;
  void* base = mmap(nullptr, static_cast<size_t>(memory.base_size_), PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return std::nullopt;
  memory.base_ = static_cast<std::byte*>(base);
  const auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(base));
  memory.data_ = memory.base_ + (RoundUp(address + kPage, kHugePage) - address);
  memory.size_ = bytes;
  if (mprotect(memory.data_, static_cast<size_t>(wanted), PROT_READ | PROT_WRITE) != 0) {
    return std::nullopt;
  }
#ifdef MADV_HUGEPAGE
  memory.huge_pages_ =
      madvise(memory.data_, static_cast<size_t>(wanted), MADV_HUGEPAGE) == 0 && HugePagesAreOn();
#endif
  return memory;
}

// The guard pages on both sides make sure that the memory is an entry of its own.
std::optional<MappedMemory::Residence> MappedMemory::residence() const {
  std::ifstream smaps("/proc/self/smaps");
  const auto begin = reinterpret_cast<uintptr_t>(data_);
  bool here = false;
  std::optional<int64_t> resident;
  for (std::string line; std::getline(smaps, line);) {
    uintptr_t first = 0, last = 0;
    int64_t kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &first, &last) == 2) {
      here = first == begin;
    } else if (here && std::sscanf(line.c_str(), "Rss: %" SCNd64, &kib) == 1) {
      resident = kib * 1024;
    } else if (here && resident &&
               std::sscanf(line.c_str(), "AnonHugePages: %" SCNd64, &kib) == 1) {
      return Residence{*resident, kib * 1024};
    }
  }
  return std::nullopt;
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept { *this = std::move(other); }

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  if (this != &other) {
    Unmap();
    base_ = std::exchange(other.base_, nullptr);
    base_size_ = std::exchange(other.base_size_, 0);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    huge_pages_ = std::exchange(other.huge_pages_, false);
  }
  return *this;
}

void MappedMemory::Unmap() {
  if (base_ != nullptr) munmap(base_, static_cast<size_t>(base_size_));
}

}  // namespace millrace
