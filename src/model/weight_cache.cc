#include "model/weight_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/check.h"
#include "quantization/packed_layout.h"

namespace millrace {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the cache is read and written by memcpy");

constexpr std::array<char, 16> kMagic = {'M', 'I', 'L', 'L', 'R', 'A', 'C', 'E',
                                         ' ', 'P', 'A', 'C', 'K', 'E', 'D', '\n'};
constexpr uint64_t kPage = 4096;
constexpr int64_t kChunk = int64_t{1} << 20;  // bytes that one checksum covers, on one thread

struct Header {
  std::array<char, 16> magic;
  uint32_t layout_version;
  uint32_t matrices;
  uint64_t source_bytes;
  int64_t source_modified_ns;
  uint64_t entries_bytes;  // entries and names, which follow the header
  uint64_t file_bytes;
  uint64_t checksum;  // of the header with a zero here, and the entries
};
static_assert(sizeof(Header) == 64);

struct EntryHeader {
  uint32_t type;
  uint32_t name_bytes;
  int64_t rows;
  int64_t columns;
  uint64_t offset;
  uint64_t bytes;
  uint64_t checksum;
};
static_assert(sizeof(EntryHeader) == 48);

uint64_t RoundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

// Eight independent lanes of xor, multiply and rotate: about as quick as memory. Each step is a
// bijection of its lane, so damage within one word is always seen. Not for adversaries.
uint64_t Checksum(std::span<const std::byte> bytes) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15u;
  uint64_t lanes[8];
  for (uint64_t i = 0; i < 8; ++i) lanes[i] = kMultiplier * (i + 1) + bytes.size();
  size_t at = 0;
  const auto mix = [&](const std::byte* from) {
    uint64_t words[8];
    std::memcpy(words, from, sizeof(words));
    for (int i = 0; i < 8; ++i) lanes[i] = std::rotl((lanes[i] ^ words[i]) * kMultiplier, 29);
  };
  for (; at + 64 <= bytes.size(); at += 64) mix(bytes.data() + at);
  std::byte rest[64] = {};
  if (at < bytes.size()) {
    std::memcpy(rest, bytes.data() + at, bytes.size() - at);
    mix(rest);
  }
  uint64_t sum = 0;
  for (const uint64_t lane : lanes) sum = std::rotl((sum ^ lane) * kMultiplier, 31);
  return sum;
}

// The checksum of the checksums of its chunks.
uint64_t ParallelChecksum(std::span<const std::byte> bytes, ThreadPool& pool) {
  const auto size = static_cast<int64_t>(bytes.size());
  std::vector<uint64_t> chunks(static_cast<size_t>((size + kChunk - 1) / kChunk));
  pool.ParallelFor(static_cast<int64_t>(chunks.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const auto begin = static_cast<size_t>(i * kChunk);
      const auto count = static_cast<size_t>(std::min(kChunk, size - i * kChunk));
      chunks[static_cast<size_t>(i)] = Checksum(bytes.subspan(begin, count));
    }
  });
  return Checksum(std::as_bytes(std::span(chunks)));
}

uint64_t HeaderChecksum(Header header, std::span<const std::byte> entries) {
  header.checksum = 0;
  const std::array<uint64_t, 2> both = {Checksum(std::as_bytes(std::span(&header, 1))),
                                        Checksum(entries)};
  return Checksum(std::as_bytes(std::span(both)));
}

Error SystemError(const std::string& what, const std::string& path, int code) {
  return {what + " " + path + ": " + std::generic_category().message(code),
          code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo};
}

// The path without symbolic links, so that two names of one file share a cache.
std::string CanonicalPath(const std::string& path) {
  std::error_code error;
  const auto canonical = std::filesystem::canonical(path, error);
  return error ? path : canonical.string();
}

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

Result<std::shared_ptr<const std::byte>> MapFile(const std::string& path, uint64_t& bytes) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return SystemError("cannot open", path, errno);
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) return SystemError("cannot read", path, errno);
  bytes = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || bytes < sizeof(Header)) {
    return Error{path + " is too short", ErrorKind::kIo};
  }
  void* address = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) return SystemError("cannot map", path, errno);
  (void)madvise(address, bytes, MADV_WILLNEED);
  const size_t size = bytes;
  return std::shared_ptr<const std::byte>(
      static_cast<const std::byte*>(address),
      [size](const std::byte* p) { munmap(const_cast<std::byte*>(p), size); });
}

// What makes a cache of no use, or an empty string.
std::string ProblemOf(const Header& header, uint64_t file_bytes, const GgufFileIdentity& source) {
  if (header.magic != kMagic) return "is no cache of weights";
  if (header.layout_version != kPackedLayoutVersion) return "is of another version of Millrace";
  if (header.source_bytes != source.bytes || header.source_modified_ns != source.modified_ns) {
    return "was made from another version of the model";
  }
  if (header.file_bytes != file_bytes) return "is damaged (its size)";
  if (header.entries_bytes > file_bytes - sizeof(Header)) return "is damaged (its index)";
  return "";
}

bool WriteAll(int descriptor, const void* from, size_t count) {
  const char* p = static_cast<const char*>(from);
  while (count > 0) {
    const ssize_t written = write(descriptor, p, std::min<size_t>(count, size_t{64} << 20));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    p += written;
    count -= static_cast<size_t>(written);
  }
  return true;
}

struct Index {
  Header header;
  std::vector<std::byte> entries;
  std::vector<uint64_t> offsets;
};

Index MakeIndex(const GgufFileIdentity& source, std::span<const NamedMatrix> matrices,
                ThreadPool& pool) {
  Index index;
  uint64_t entries_bytes = 0;
  for (const NamedMatrix& m : matrices) entries_bytes += sizeof(EntryHeader) + m.name.size();
  uint64_t at = RoundUp(sizeof(Header) + entries_bytes, kPage);
  for (const NamedMatrix& m : matrices) {
    CHECK(!m.matrix->in_place());
    const std::span<const std::byte> panels = m.matrix->packed_bytes();
    const EntryHeader entry = {static_cast<uint32_t>(m.matrix->type()),
                               static_cast<uint32_t>(m.name.size()),
                               m.matrix->rows(),
                               m.matrix->columns(),
                               at,
                               panels.size(),
                               ParallelChecksum(panels, pool)};
    const auto bytes = std::as_bytes(std::span(&entry, 1));
    const auto name = std::as_bytes(std::span(m.name));
    index.entries.insert(index.entries.end(), bytes.begin(), bytes.end());
    index.entries.insert(index.entries.end(), name.begin(), name.end());
    index.offsets.push_back(at);
    at = RoundUp(at + panels.size(), kPage);
  }
  index.header = {kMagic,
                  kPackedLayoutVersion,
                  static_cast<uint32_t>(matrices.size()),
                  source.bytes,
                  source.modified_ns,
                  entries_bytes,
                  at,
                  0};
  index.header.checksum = HeaderChecksum(index.header, index.entries);
  return index;
}

bool WriteFile(int descriptor, const Index& index, std::span<const NamedMatrix> matrices) {
  // Asks for the whole room first, so that a full disk is found before gigabytes are written;
  // not every file system can.
  if (fallocate(descriptor, 0, 0, static_cast<off_t>(index.header.file_bytes)) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS) {
    return false;
  }
  if (!WriteAll(descriptor, &index.header, sizeof(Header)) ||
      !WriteAll(descriptor, index.entries.data(), index.entries.size())) {
    return false;
  }
  for (size_t i = 0; i < matrices.size(); ++i) {
    const std::span<const std::byte> panels = matrices[i].matrix->packed_bytes();
    if (lseek(descriptor, static_cast<off_t>(index.offsets[i]), SEEK_SET) < 0 ||
        !WriteAll(descriptor, panels.data(), panels.size())) {
      return false;
    }
  }
  return ftruncate(descriptor, static_cast<off_t>(index.header.file_bytes)) == 0;
}

}  // namespace

std::string WeightCachePath(const std::string& directory, const GgufFileIdentity& source) {
  const std::string path = CanonicalPath(source.path);
  char hash[17];
  std::snprintf(hash, sizeof(hash), "%016llx",
                static_cast<unsigned long long>(Checksum(std::as_bytes(std::span(path)))));
  const std::string name = std::filesystem::path(path).stem().string();
  return (std::filesystem::path(directory) / (name + "." + hash + ".packed")).string();
}

Result<WeightCache> WeightCache::Open(const std::string& directory, const GgufFileIdentity& source,
                                      ThreadPool& pool) {
  const std::string path = WeightCachePath(directory, source);
  uint64_t file_bytes = 0;
  WeightCache cache;
  ASSIGN_OR_RETURN(cache.mapping_, MapFile(path, file_bytes));
  const std::byte* base = cache.mapping_.get();
  Header header;
  std::memcpy(&header, base, sizeof(header));
  const std::string problem = ProblemOf(header, file_bytes, source);
  if (!problem.empty()) return Error{path + " " + problem, ErrorKind::kIo};
  const std::span<const std::byte> entries(base + sizeof(Header), header.entries_bytes);
  const Error damaged = {path + " is damaged", ErrorKind::kIo};
  if (HeaderChecksum(header, entries) != header.checksum) return damaged;
  size_t at = 0;
  for (uint32_t i = 0; i < header.matrices; ++i) {
    EntryHeader entry;
    if (entries.size() - at < sizeof(entry)) return damaged;
    std::memcpy(&entry, entries.data() + at, sizeof(entry));
    at += sizeof(entry);
    if (entries.size() - at < entry.name_bytes || !FindDType(entry.type)) return damaged;
    const std::string name(reinterpret_cast<const char*>(entries.data() + at), entry.name_bytes);
    at += entry.name_bytes;
    if (entry.offset > file_bytes || entry.bytes > file_bytes - entry.offset) return damaged;
    const std::span<const std::byte> panels(base + entry.offset, entry.bytes);
    if (ParallelChecksum(panels, pool) != entry.checksum) return damaged;
    cache.entries_[name] = {static_cast<DType>(entry.type), entry.rows, entry.columns, panels};
  }
  return cache;
}

Result<WeightMatrix> WeightCache::Find(const std::string& name, DType type, int64_t rows,
                                       int64_t columns) const {
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.type != type || found->second.rows != rows ||
      found->second.columns != columns) {
    return Error{"the cache of weights lacks '" + name + "'", ErrorKind::kNotFound};
  }
  return WeightMatrix::FromPanels(type, rows, columns, found->second.panels);
}

Status WriteWeightCache(const std::string& directory, const GgufFileIdentity& source,
                        std::span<const NamedMatrix> matrices, ThreadPool& pool) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return SystemError("cannot make the folder", directory, error.value());
  const std::string path = WeightCachePath(directory, source);
  std::string temporary = path + ".XXXXXX";
  const File file(mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) return SystemError("cannot write", path, errno);
  const Index index = MakeIndex(source, matrices, pool);
  if (!WriteFile(file.get(), index, matrices) || fsync(file.get()) != 0 ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    unlink(temporary.c_str());
    return SystemError("cannot write", path, code);
  }
  return {};
}

}  // namespace millrace
