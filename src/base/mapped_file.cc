#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace millrace {

Result<MappedFile> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const auto failed = [&](int code) {
    return Error{"cannot read " + path + ": " + std::generic_category().message(code),
                 code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo};
  };
  if (fd < 0) return failed(errno);
  struct stat info = {};
  const bool known = fstat(fd, &info) == 0;
  const int code = errno;
  if (!known || !S_ISREG(info.st_mode) || info.st_size == 0) {
    close(fd);
    if (!known) return failed(code);
    return Error{path + (S_ISREG(info.st_mode) ? " is empty" : " is not a regular file")};
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* const address = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  const int map_code = errno;
  close(fd);
  if (address == MAP_FAILED) return failed(map_code);
  return MappedFile({static_cast<const std::byte*>(address), size});
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::Release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  // A hint: nothing depends on whether the system takes it.
  if (end > begin) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace millrace
