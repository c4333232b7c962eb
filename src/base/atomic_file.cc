#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace millrace {
namespace {

constexpr int kAttempts = 1000;
constexpr int64_t kFlushBytes = int64_t{64} << 20;

std::string DirectoryOf(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

}  // namespace

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Status AtomicFile::Open() {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) return Failed("create", EISDIR);
  if (OpenUnnamed()) return {};
  for (int i = 0; i < kAttempts; ++i) {
    const std::string name = PartialName(i);
    fd_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0) {
      temporary_ = name;
      return {};
    }
    if (errno != EEXIST) break;
  }
  return Failed("create", errno);
}

bool AtomicFile::OpenUnnamed() {
#ifdef O_TMPFILE
  fd_ = open(DirectoryOf(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
#endif
  return fd_ >= 0;
}

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  constexpr size_t kMostAtOnce = size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), std::min(bytes.size(), kMostAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write", errno);
    if (written == 0) return Failed("write", EIO);
    bytes = bytes.subspan(static_cast<size_t>(written));
    written_ += written;
  }
#ifdef SYNC_FILE_RANGE_WRITE
  if (written_ - flushed_ >= kFlushBytes) {
    // A hint: whatever goes wrong is met again by fsync.
    (void)sync_file_range(fd_, flushed_, written_ - flushed_, SYNC_FILE_RANGE_WRITE);
    flushed_ = written_;
  }
#endif
  return {};
}

Status AtomicFile::Commit() {
  if (fsync(fd_) != 0) return Failed("write", errno);
  if (temporary_.empty()) {
    if (Status named = GiveName(); !named.ok()) return named;
  }
  const int closed = close(fd_);
  fd_ = -1;
  if (closed != 0) return Failed("write", errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Failed("put in place", errno);
  temporary_.clear();
  return SyncDirectory();
}

Status AtomicFile::GiveName() {
  const std::string self = "/proc/self/fd/" + std::to_string(fd_);
  for (int i = 0; i < kAttempts; ++i) {
    const std::string name = PartialName(i);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = name;
      return {};
    }
    if (errno != EEXIST) break;
  }
  return Failed("put in place", errno);
}

std::string AtomicFile::PartialName(int attempt) const {
  return path_ + "." + std::to_string(getpid()) + "-" + std::to_string(attempt) + ".partial";
}

Status AtomicFile::Failed(const char* what, int code) const {
  return Error{std::string("Cannot ") + what + " " + path_ + ": " +
                   std::generic_category().message(code) +
                   "; nothing is left of the unfinished file.",
               ErrorKind::kIo};
}

// So that the new name survives a power cut. The file is whole whatever this gives.
Status AtomicFile::SyncDirectory() {
  const int fd = open(DirectoryOf(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Some file systems cannot sync a directory (EINVAL): then there is nothing more to do.
  const bool failed = fd < 0 || (fsync(fd) != 0 && errno != EINVAL);
  const int code = errno;
  if (fd >= 0) close(fd);
  if (!failed) return {};
  return Error{path_ + " is written, but its directory cannot be made durable: " +
                   std::generic_category().message(code) + ".",
               ErrorKind::kIo};
}

Status WriteAtomically(const std::string& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  RETURN_IF_ERROR(file.Open());
  RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

Status WriteAtomically(const std::string& path, std::string_view text) {
  return WriteAtomically(path, std::as_bytes(std::span(text)));
}

}  // namespace millrace
