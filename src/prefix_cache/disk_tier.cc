#include "prefix_cache/disk_tier.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "paged_kv/block_pool.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'M', 'I', 'L', 'L', 'K', 'V', '0', '1'};
constexpr std::string_view kSuffix = ".kv";
constexpr std::string_view kUnfinished = ".part";

struct Header {
  char magic[8];
  uint64_t block_bytes;
  uint64_t checksum;  // of name, tokens and block, in this order
  Digest name;
  TokenId tokens[kBlockTokens];
};
static_assert(sizeof(Header) == 56 + 4 * kBlockTokens);

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Whole transfers, or false. `transfer` is readv or writev.
template <class Transfer>
bool TransferAll(Transfer transfer, int fd, std::span<iovec> parts) {
  while (!parts.empty()) {
    const ssize_t done = transfer(fd, parts.data(), static_cast<int>(parts.size()));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    auto left = static_cast<size_t>(done);
    while (!parts.empty() && left >= parts[0].iov_len) {
      left -= parts[0].iov_len;
      parts = parts.subspan(1);
    }
    if (left > 0) {
      parts[0].iov_base = static_cast<char*>(parts[0].iov_base) + left;
      parts[0].iov_len -= left;
    }
  }
  return true;
}

uint64_t FileChecksum(const Header& header, std::span<const std::byte> block) {
  const std::byte* from = reinterpret_cast<const std::byte*>(&header.name);
  const std::span<const std::byte> head(from, sizeof(header.name) + sizeof(header.tokens));
  return ChecksumOf(head) ^ Mix64(ChecksumOf(block));
}

bool WriteFile(const fs::path& path, Header& header, std::span<const std::byte> block) {
  const File file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.ok()) return false;
  iovec parts[] = {{&header, sizeof(header)}, {const_cast<std::byte*>(block.data()), block.size()}};
  return TransferAll(writev, file.get(), parts);
}

bool ReadFile(const fs::path& path, Header& header, std::span<std::byte> block) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return false;
  iovec parts[] = {{&header, sizeof(header)}, {block.data(), block.size()}};
  return TransferAll(readv, file.get(), parts);
}

// The name in a file's name; nothing for other files.
std::optional<Digest> NameFrom(const fs::path& path) {
  const std::string text = path.filename().string();
  if (text.size() != 64 + kSuffix.size() || !text.ends_with(kSuffix)) return std::nullopt;
  Digest digest;
  for (size_t i = 0; i < 64; ++i) {
    const size_t value = std::string_view("0123456789abcdef").find(text[i]);
    if (value == std::string_view::npos) return std::nullopt;
    digest[i / 2] = static_cast<uint8_t>(i % 2 == 0 ? value << 4 : digest[i / 2] | value);
  }
  return digest;
}

}  // namespace

struct DiskTier::Impl {
  struct Entry {
    int64_t bytes = 0;
    std::list<Digest>::iterator age;
  };
  struct Pending {
    Digest name;
    Header header;
    std::vector<std::byte> block;
  };

  explicit Impl(const DiskTierConfig& c) : config(c) {
    identity = Sha256().AddAll(std::span<const char>(config.identity)).Finish();
  }

  Digest NameOf(const Digest& chain) const {
    return Sha256()
        .AddAll(std::span<const uint8_t>(identity))
        .AddAll(std::span<const uint8_t>(chain))
        .Finish();
  }
  fs::path PathOf(const Digest& name) const {
    const std::string hex = HexOf(name);
    return config.directory / hex.substr(0, 2) / (hex + std::string(kSuffix));
  }

  // The rest with `mutex` held.
  void AddEntry(const Digest& name, int64_t bytes) {
    ages.push_back(name);
    entries[name] = {bytes, std::prev(ages.end())};
    stats.bytes += bytes;
    ++stats.files;
  }
  void DropEntry(std::map<Digest, Entry>::iterator entry) {
    stats.bytes -= entry->second.bytes;
    --stats.files;
    ages.erase(entry->second.age);
    entries.erase(entry);
  }
  void Use(Entry& entry) { ages.splice(ages.end(), ages, entry.age); }
  void MakeRoom(int64_t bytes) {
    while (!ages.empty() && stats.bytes + bytes > config.max_bytes) {
      const auto oldest = entries.find(ages.front());
      std::error_code ignored;
      fs::remove(PathOf(oldest->first), ignored);
      DropEntry(oldest);
      ++stats.evicted;
    }
  }

  Status Index();
  void WriteQueue();
  void WriteOne(Pending& pending);

  const DiskTierConfig config;
  Digest identity;

  mutable std::mutex mutex;
  std::condition_variable changed;  // the queue
  std::map<Digest, Entry> entries;
  std::list<Digest> ages;  // the least recently used first
  std::deque<Pending> queue;
  int64_t queued_bytes = 0;
  bool writing = false;
  bool stop = false;
  DiskTierStats stats;
  std::thread writer;
};

// What earlier processes left, oldest first.
Status DiskTier::Impl::Index() {
  std::error_code error;
  fs::create_directories(config.directory, error);
  if (!error) fs::permissions(config.directory, fs::perms::owner_all, error);
  if (error) {
    return Error{fmt::format("The prefix cache's directory {} cannot be used: {}.",
                             config.directory.string(), error.message()),
                 ErrorKind::kIo};
  }
  struct Found {
    fs::file_time_type time;
    Digest name;
    int64_t bytes;
  };
  std::vector<Found> found;
  for (auto at = fs::recursive_directory_iterator(config.directory, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code vanished;  // another process may clean up at the same time
    if (!at->is_regular_file(vanished)) continue;
    if (at->path().extension() == kUnfinished) {
      fs::remove(at->path(), vanished);
      continue;
    }
    const std::optional<Digest> name = NameFrom(at->path());
    if (!name || at->path() != PathOf(*name)) continue;
    const auto bytes = static_cast<int64_t>(at->file_size(vanished));
    const auto time = at->last_write_time(vanished);
    if (!vanished) found.push_back({time, *name, bytes});
  }
  if (error) {
    return Error{fmt::format("The prefix cache's directory {} cannot be read: {}.",
                             config.directory.string(), error.message()),
                 ErrorKind::kIo};
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.time < b.time; });
  for (const Found& file : found) AddEntry(file.name, file.bytes);
  MakeRoom(0);
  return {};
}

void DiskTier::Impl::WriteQueue() {
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [this] { return stop || !queue.empty(); });
    if (queue.empty()) return;
    Pending pending = std::move(queue.front());
    queue.pop_front();
    writing = true;
    lock.unlock();
    WriteOne(pending);
    lock.lock();
    writing = false;
    queued_bytes -= static_cast<int64_t>(pending.block.size());
    changed.notify_all();
  }
}

// Off the lock but for the index: only this thread writes files.
void DiskTier::Impl::WriteOne(Pending& pending) {
  const auto bytes = static_cast<int64_t>(sizeof(Header) + pending.block.size());
  {
    const std::lock_guard lock(mutex);
    if (bytes > config.max_bytes) {
      ++stats.dropped;
      return;
    }
    MakeRoom(bytes);
  }
  pending.header.checksum = FileChecksum(pending.header, pending.block);
  const fs::path path = PathOf(pending.name);
  // With the process's id, so that two servers on one directory do not write the same file.
  const fs::path unfinished = fmt::format("{}.{}{}", path.string(), getpid(), kUnfinished);
  std::error_code error;
  fs::create_directory(path.parent_path(), error);
  const bool written = WriteFile(unfinished, pending.header, pending.block);
  if (written) fs::rename(unfinished, path, error);
  const bool done = written && !error;
  if (!done) fs::remove(unfinished, error);
  const std::lock_guard lock(mutex);
  if (done && !entries.contains(pending.name)) AddEntry(pending.name, bytes);
  ++(done ? stats.written : stats.dropped);
}

Result<std::unique_ptr<DiskTier>> DiskTier::Open(const DiskTierConfig& config) {
  CHECK(config.block_bytes > 0);
  auto impl = std::make_unique<Impl>(config);
  RETURN_IF_ERROR(impl->Index());
  impl->writer = std::thread([raw = impl.get()] { raw->WriteQueue(); });
  return std::unique_ptr<DiskTier>(new DiskTier(std::move(impl)));
}

DiskTier::DiskTier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

DiskTier::~DiskTier() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->changed.notify_all();
  impl_->writer.join();
}

bool DiskTier::Contains(const Digest& chain) const {
  const Digest name = impl_->NameOf(chain);
  const std::lock_guard lock(impl_->mutex);
  return impl_->entries.contains(name);
}

void DiskTier::Store(const Digest& chain, std::span<const TokenId> tokens,
                     std::span<const std::byte> block, WhenFull when_full) {
  Impl& s = *impl_;
  CHECK(tokens.size() == kBlockTokens &&
        static_cast<int64_t>(block.size()) == s.config.block_bytes);
  const Digest name = s.NameOf(chain);
  const auto bytes = static_cast<int64_t>(block.size());
  std::unique_lock lock(s.mutex);
  if (const auto known = s.entries.find(name); known != s.entries.end()) {
    s.Use(known->second);
    return;
  }
  // One block always has room, however large.
  const auto has_room = [&] {
    return s.queued_bytes == 0 || s.queued_bytes + bytes <= s.config.queue_bytes;
  };
  if (when_full == WhenFull::kWait) s.changed.wait(lock, has_room);
  if (!has_room()) {
    ++s.stats.dropped;
    return;
  }
  Impl::Pending pending{.name = name, .header = {}, .block = {block.begin(), block.end()}};
  std::memcpy(pending.header.magic, kMagic, sizeof(kMagic));
  pending.header.block_bytes = static_cast<uint64_t>(bytes);
  pending.header.name = name;
  std::copy(tokens.begin(), tokens.end(), pending.header.tokens);
  s.queue.push_back(std::move(pending));
  s.queued_bytes += bytes;
  s.changed.notify_all();
}

bool DiskTier::Load(const Digest& chain, std::span<const TokenId> tokens,
                    std::span<std::byte> block) {
  Impl& s = *impl_;
  CHECK(tokens.size() == kBlockTokens &&
        static_cast<int64_t>(block.size()) == s.config.block_bytes);
  const Digest name = s.NameOf(chain);
  {
    const std::lock_guard lock(s.mutex);
    const auto known = s.entries.find(name);
    if (known == s.entries.end()) return false;
    s.Use(known->second);
  }
  Header header;
  const fs::path path = s.PathOf(name);
  const bool right = ReadFile(path, header, block) &&
                     std::memcmp(header.magic, kMagic, sizeof(kMagic)) == 0 &&
                     header.block_bytes == block.size() && header.name == name &&
                     std::equal(tokens.begin(), tokens.end(), header.tokens) &&
                     header.checksum == FileChecksum(header, block);
  std::error_code ignored;
  if (right) {
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);  // for the next start
  } else {
    fs::remove(path, ignored);
  }
  const std::lock_guard lock(s.mutex);
  ++(right ? s.stats.loaded : s.stats.damaged);
  if (const auto known = s.entries.find(name); !right && known != s.entries.end()) {
    s.DropEntry(known);
  }
  return right;
}

void DiskTier::Flush() {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return impl_->queue.empty() && !impl_->writing; });
}

Result<Duration> DiskTier::MeasureLoad(const Clock& clock) {
  constexpr int kReads = 3;
  const fs::path path =
      impl_->config.directory / fmt::format("measure.{}{}", getpid(), kUnfinished);
  std::vector<std::byte> block(static_cast<size_t>(impl_->config.block_bytes), std::byte{1});
  Header header{};
  std::vector<Duration> times;
  bool ok = WriteFile(path, header, block);
  for (int i = 0; ok && i < kReads; ++i) {
    const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ok = file.ok() && fsync(file.get()) == 0;
    if (ok) (void)posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    const TimePoint start = clock.Now();
    ok = ok && ReadFile(path, header, block);
    header.checksum = FileChecksum(header, block);
    times.push_back(clock.Now() - start);
  }
  std::error_code ignored;
  fs::remove(path, ignored);
  if (!ok) {
    return Error{fmt::format("The prefix cache's directory {} cannot be written or read.",
                             impl_->config.directory.string()),
                 ErrorKind::kIo};
  }
  std::sort(times.begin(), times.end());
  return times[kReads / 2];
}

DiskTierStats DiskTier::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

}  // namespace millrace
