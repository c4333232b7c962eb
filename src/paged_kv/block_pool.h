// BlockPool: the accounting of a fixed number of KV blocks. Which block holds what is the business
// of its users; the memory behind the blocks is KvStore's.
//
// Invariant: free + held == capacity, where a block is held while at least one BlockRef to it
// lives; of the held ones, reclaimable() are held by nobody but a cache that would give them up.
// Owned by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/id.h"

namespace millrace {

inline constexpr int32_t kBlockTokens = 32;  // positions per block
constexpr int32_t BlocksFor(int32_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// How a sequence gets its memory. kPaged: block by block, as it grows, from anywhere. kContiguous
// is the textbook baseline: one run of blocks side by side, for all that it may become, when it
// begins.
enum class KvLayout { kPaged, kContiguous };

class BlockPool;

// One holder's share of a block. Move-only; Share() makes another holder; the block is free when
// the last one dies. The pool must outlive its references.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(BlockRef&& other) noexcept : pool_(other.pool_), id_(other.id_) {
    other.pool_ = nullptr;
  }
  BlockRef& operator=(BlockRef&& other) noexcept;
  BlockRef(const BlockRef&) = delete;
  BlockRef& operator=(const BlockRef&) = delete;
  ~BlockRef() { Release(); }

  BlockId id() const {
    CHECK(pool_ != nullptr);
    return id_;
  }
  BlockRef Share() const;
  bool IsUnique() const;
  // For a cache: whether this reference, once it is the block's last, is one that the cache would
  // give up for somebody else. At most one holder of a block may say so, and must take it back
  // before it lets go.
  void SetReclaimable(bool reclaimable);
  explicit operator bool() const { return pool_ != nullptr; }

 private:
  friend class BlockPool;
  BlockRef(BlockPool* pool, BlockId id) : pool_(pool), id_(id) {}
  void Release();

  BlockPool* pool_ = nullptr;
  BlockId id_;
};

class BlockPool {
 public:
  explicit BlockPool(int32_t capacity);
  ~BlockPool() { CHECK(held() == 0); }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // All `count` blocks or none. The block freed longest ago is given first.
  std::optional<std::vector<BlockRef>> TryAcquire(int32_t count);
  // `count` blocks side by side, in rising order: the first such run of free ones, or none.
  std::optional<std::vector<BlockRef>> TryAcquireRun(int32_t count);
  // This block, which must be free.
  BlockRef AcquireFree(BlockId block);
  int32_t capacity() const { return static_cast<int32_t>(references_.size()); }
  int32_t available() const { return free_count_; }
  int32_t held() const { return capacity() - free_count_; }
  int32_t reclaimable() const { return reclaimable_count_; }
  int32_t holders(BlockId block) const { return references_[static_cast<size_t>(block.value)]; }
  int32_t LongestFreeRun() const;  // visits every block

 private:
  friend class BlockRef;
  // The free blocks are a ring through one more place than there are blocks, which is where it
  // begins and ends: any block can leave it, and one that is freed comes in last.
  struct Link {
    int32_t before = 0, after = 0;
  };
  void Free(int32_t block);

  std::vector<int32_t> references_;  // holders of each block
  std::vector<bool> given_up_last_;  // SetReclaimable, of each block
  int32_t reclaimable_count_ = 0;    // blocks with one holder, who would give them up
  std::vector<Link> links_;
  int32_t free_count_ = 0;
};

}  // namespace millrace
