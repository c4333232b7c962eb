#include "paged_kv/block_pool.h"

#include <algorithm>

namespace millrace {

BlockRef& BlockRef::operator=(BlockRef&& other) noexcept {
  if (this != &other) {
    Release();
    pool_ = other.pool_;
    id_ = other.id_;
    other.pool_ = nullptr;
  }
  return *this;
}

BlockRef BlockRef::Share() const {
  CHECK(pool_ != nullptr);
  const auto block = static_cast<size_t>(id_.value);
  if (++pool_->references_[block] == 2 && pool_->given_up_last_[block]) --pool_->reclaimable_count_;
  return BlockRef(pool_, id_);
}

bool BlockRef::IsUnique() const {
  CHECK(pool_ != nullptr);
  return pool_->references_[static_cast<size_t>(id_.value)] == 1;
}

void BlockRef::SetReclaimable(bool reclaimable) {
  CHECK(pool_ != nullptr);
  const auto block = static_cast<size_t>(id_.value);
  CHECK(pool_->given_up_last_[block] != reclaimable);
  pool_->given_up_last_[block] = reclaimable;
  if (pool_->references_[block] == 1) pool_->reclaimable_count_ += reclaimable ? 1 : -1;
}

void BlockRef::Release() {
  if (pool_ == nullptr) return;
  BlockPool& pool = *pool_;
  pool_ = nullptr;
  const auto block = static_cast<size_t>(id_.value);
  int32_t& references = pool.references_[block];
  CHECK(references > 0);
  if (--references == 1 && pool.given_up_last_[block]) ++pool.reclaimable_count_;
  if (references > 0) return;
  CHECK(!pool.given_up_last_[block]);
  pool.Free(id_.value);
}

BlockPool::BlockPool(int32_t capacity)
    : references_(static_cast<size_t>(capacity)),
      given_up_last_(static_cast<size_t>(capacity)),
      links_(static_cast<size_t>(capacity) + 1) {
  CHECK(capacity > 0);
  links_.back() = {capacity, capacity};
  for (int32_t i = 0; i < capacity; ++i) Free(i);
}

void BlockPool::Free(int32_t block) {
  const int32_t end = capacity();
  Link& ring = links_[static_cast<size_t>(end)];
  links_[static_cast<size_t>(block)] = {ring.before, end};
  links_[static_cast<size_t>(ring.before)].after = block;
  ring.before = block;
  ++free_count_;
}

BlockRef BlockPool::AcquireFree(BlockId block) {
  int32_t& references = references_[static_cast<size_t>(block.value)];
  CHECK(references == 0);
  references = 1;
  const Link link = links_[static_cast<size_t>(block.value)];
  links_[static_cast<size_t>(link.before)].after = link.after;
  links_[static_cast<size_t>(link.after)].before = link.before;
  --free_count_;
  return BlockRef(this, block);
}

std::optional<std::vector<BlockRef>> BlockPool::TryAcquire(int32_t count) {
  CHECK(count >= 0);
  if (count > free_count_) return std::nullopt;
  std::vector<BlockRef> blocks;
  blocks.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) blocks.push_back(AcquireFree(BlockId(links_.back().after)));
  return blocks;
}

std::optional<std::vector<BlockRef>> BlockPool::TryAcquireRun(int32_t count) {
  CHECK(count >= 0);
  int32_t run = 0;
  int32_t end = 0;
  for (; run < count && end < capacity(); ++end) {
    run = references_[static_cast<size_t>(end)] == 0 ? run + 1 : 0;
  }
  if (run < count) return std::nullopt;
  std::vector<BlockRef> blocks;
  blocks.reserve(static_cast<size_t>(count));
  for (int32_t i = end - count; i < end; ++i) blocks.push_back(AcquireFree(BlockId(i)));
  return blocks;
}

int32_t BlockPool::LongestFreeRun() const {
  int32_t longest = 0;
  int32_t run = 0;
  for (const int32_t references : references_) {
    run = references == 0 ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

}  // namespace millrace
