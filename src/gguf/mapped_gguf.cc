#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/check.h"
#include "gguf/gguf.h"

namespace millrace {
namespace {

// Closes a file descriptor at the end of its scope. Mappings outlive it.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Error SystemError(const std::string& path, int code) {
  const std::string reason = std::generic_category().message(code);
  if (code == ENOENT) {
    return Error{fmt::format("{} does not exist; check the path.", path), ErrorKind::kNotFound};
  }
  if (code == EACCES || code == EPERM) {
    return Error{
        fmt::format("{} may not be read by this user ({}); check its permissions.", path, reason),
        ErrorKind::kIo};
  }
  return Error{fmt::format("{} cannot be read: {}.", path, reason), ErrorKind::kIo};
}

}  // namespace

void gguf_internal::Unmap::operator()(const std::byte* p) const {
  if (size > 0) munmap(const_cast<std::byte*>(p), size);
}

Result<MappedGguf> MappedGguf::Open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return SystemError(path, errno);
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return SystemError(path, errno);
  if (S_ISDIR(info.st_mode)) {
    return Error{fmt::format("{} is a directory; give the path of a GGUF file.", path)};
  }
  if (!S_ISREG(info.st_mode)) {
    return Error{fmt::format("{} is not a regular file; give the path of a GGUF file.", path)};
  }
  if (info.st_size == 0) return Error{fmt::format("{} is empty; download it again.", path)};
  const auto size = static_cast<size_t>(info.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) return SystemError(path, errno);

  MappedGguf mapped;
  mapped.mapping_ = std::unique_ptr<const std::byte, gguf_internal::Unmap>(
      static_cast<const std::byte*>(address), gguf_internal::Unmap{size});
  mapped.bytes_ = {mapped.mapping_.get(), size};
  mapped.identity_ = GgufFileIdentity{
      path, size, int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
  ASSIGN_OR_RETURN(GgufFile file, ParseGguf(mapped.bytes_, path));
  mapped.file_ = std::make_unique<GgufFile>(std::move(file));
  return mapped;
}

void MappedGguf::Release(std::span<const std::byte> part) const {
  if (mapping_ == nullptr || part.empty()) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = static_cast<size_t>(part.data() - bytes_.data()) / page * page;
  const size_t end = static_cast<size_t>(part.data() - bytes_.data()) + part.size();
  CHECK(end <= bytes_.size());
  // Pages shared with neighbours go as well: a shared mapping of a file gets them back unchanged.
  (void)madvise(const_cast<std::byte*>(bytes_.data()) + begin, end - begin, MADV_DONTNEED);
}

Result<MappedGguf> MappedGguf::FromStatic(std::span<const std::byte> bytes, std::string name) {
  MappedGguf mapped;
  mapped.bytes_ = bytes;
  ASSIGN_OR_RETURN(GgufFile file, ParseGguf(bytes, std::move(name)));
  mapped.file_ = std::make_unique<GgufFile>(std::move(file));
  return mapped;
}

}  // namespace millrace
