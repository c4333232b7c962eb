// AtomicFile: a file that appears whole or not at all.
//
// Invariant: until Commit succeeds, `path` is what it was before, whatever happens: an error, a
// full disk, a kill. Where the file system can (O_TMPFILE), the unfinished file has no name, so
// that not even a kill leaves one behind; elsewhere it is "PATH.PID-N.partial", removed by the
// destructor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace millrace {

class AtomicFile {
 public:
  explicit AtomicFile(std::string path) : path_(std::move(path)) {}
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  // Errors name the path and what the system said.
  Status Open();
  // Asks the system to begin writing to the disk what was written before, so that Commit need not
  // wait for all of it.
  Status Write(std::span<const std::byte> bytes);
  // fsync, rename, fsync of the directory.
  Status Commit();

 private:
  Status Failed(const char* what, int code) const;
  bool OpenUnnamed();
  std::string PartialName(int attempt) const;
  // Gives the unnamed file a name beside `path`.
  Status GiveName();
  Status SyncDirectory();

  std::string path_;
  std::string temporary_;  // empty when there is none to remove
  int fd_ = -1;
  int64_t written_ = 0;
  int64_t flushed_ = 0;
};

// A file of just these bytes; on an error `path` is what it was before.
Status WriteAtomically(const std::string& path, std::span<const std::byte> bytes);
Status WriteAtomically(const std::string& path, std::string_view text);

}  // namespace millrace
