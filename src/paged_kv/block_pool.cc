#include "paged_kv/block_pool.h"

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
  const int32_t slot = (pool.free_first_ + pool.free_count_) % pool.capacity();
  pool.free_[static_cast<size_t>(slot)] = id_;
  ++pool.free_count_;
}

BlockPool::BlockPool(int32_t capacity)
    : references_(static_cast<size_t>(capacity)),
      given_up_last_(static_cast<size_t>(capacity)),
      free_(static_cast<size_t>(capacity)),
      free_count_(capacity) {
  CHECK(capacity > 0);
  for (int32_t i = 0; i < capacity; ++i) free_[static_cast<size_t>(i)] = BlockId(i);
}

std::optional<std::vector<BlockRef>> BlockPool::TryAcquire(int32_t count) {
  CHECK(count >= 0);
  if (count > free_count_) return std::nullopt;
  std::vector<BlockRef> blocks;
  blocks.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    const BlockId id = free_[static_cast<size_t>(free_first_)];
    free_first_ = (free_first_ + 1) % capacity();
    --free_count_;
    references_[static_cast<size_t>(id.value)] = 1;
    blocks.push_back(BlockRef(this, id));
  }
  return blocks;
}

}  // namespace millrace
