// DiskTier: KV blocks that outlive the memory and the process: one file per whole block.
//
// A file's name is the SHA-256 of the identity (model, KV type, kernels) and of the whole beginning
// that the block belongs to, namespace included, so a name found is the right block. The file
// repeats its name and token ids and has a checksum; what does not agree is deleted and not used.
// Written under another name and renamed, so that a process killed at any moment leaves nothing
// wrong. Total size is bounded: the least recently used go.
//
// Reading happens on the caller's thread, writing on a thread of its own behind a bounded queue:
// where that is full, a block is not kept, which costs time later and nothing else. All methods may
// be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "prefix_cache/sha256.h"

namespace millrace {

struct DiskTierConfig {
  std::filesystem::path directory;
  std::string identity;  // blocks of different identities are never mixed up
  int64_t block_bytes = 0;
  int64_t max_bytes = int64_t{8} << 30;     // of all files together
  int64_t queue_bytes = int64_t{64} << 20;  // waiting to be written
};

struct DiskTierStats {
  int64_t files = 0;
  int64_t bytes = 0;
  int64_t written = 0;  // blocks, since Open
  int64_t loaded = 0;
  int64_t damaged = 0;  // found, but not what they should be; deleted
  int64_t dropped = 0;  // not written: the queue was full, or the disk failed
  int64_t evicted = 0;
};

class DiskTier {
 public:
  // Makes the directory (for this user only) where it is missing, indexes what is in it and deletes
  // what an earlier process left half written. An error: the directory cannot be used.
  static Result<std::unique_ptr<DiskTier>> Open(const DiskTierConfig& config);
  // Waits for what is in the queue.
  ~DiskTier();
  DiskTier(const DiskTier&) = delete;
  DiskTier& operator=(const DiskTier&) = delete;

  // `chain`: see ChainOf in prefix_tree.h.
  bool Contains(const Digest& chain) const;
  // Copies `block` to the queue; nothing to do where it is there already. kWait: waits for room.
  enum class WhenFull { kDrop, kWait };
  void Store(const Digest& chain, std::span<const TokenId> tokens, std::span<const std::byte> block,
             WhenFull when_full = WhenFull::kDrop);
  // Fills `block`. False, with `block` spoilt, where it is not there or not right.
  bool Load(const Digest& chain, std::span<const TokenId> tokens, std::span<std::byte> block);
  void Flush();  // returns when all that was stored is on its way to the disk

  // How long reading one block takes, past the system's page cache where that can be had: of a file
  // that it writes, reads some times and deletes. An error: the disk refused.
  Result<Duration> MeasureLoad(const Clock& clock);

  DiskTierStats stats() const;

 private:
  struct Impl;
  explicit DiskTier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A fast 64-bit checksum against damage, not against malice.
uint64_t ChecksumOf(std::span<const std::byte> bytes);

}  // namespace millrace
