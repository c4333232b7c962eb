// Contiguous KV, the baseline that paging is compared with: a sequence begins with one run of
// blocks for all that it may become, first fit. Where enough blocks are free but not side by side,
// those that run are moved together first. Source: what Kwon et al. 2023 ("PagedAttention",
// section 3.1) describe of the systems before.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "continuous_batching/scheduler.h"

namespace millrace {

// The region of a sequence that is about to begin; none where there is too little memory.
std::optional<std::vector<BlockRef>> Scheduler::TryReserve(const Sequence& sequence,
                                                           StepPlan& plan) {
  const int32_t needed = BlocksFor(sequence.max_length);
  if (pool_->available() < needed) return std::nullopt;
  auto region = pool_->TryAcquireRun(needed);
  if (region) return region;
  Compact(plan);
  region = pool_->TryAcquireRun(needed);
  CHECK(region.has_value());
  return region;
}

// Every region slides down to the end of the one before it, block by block from its first, so that
// a block is overwritten only after it was moved away itself. What is not computed yet is not
// copied.
void Scheduler::Compact(StepPlan& plan) {
  std::vector<Sequence*> in_place = running_;
  std::sort(in_place.begin(), in_place.end(), [](const Sequence* a, const Sequence* b) {
    return a->block_table.front() < b->block_table.front();
  });
  int32_t next = 0;
  for (Sequence* sequence : in_place) {
    const int32_t filled = BlocksFor(sequence->computed);
    for (size_t i = 0; i < sequence->blocks.size(); ++i, ++next) {
      const BlockId from = sequence->block_table[i];
      const BlockId to(next);
      if (from == to) continue;
      sequence->blocks[i] = pool_->AcquireFree(to);
      sequence->block_table[i] = to;
      if (static_cast<int32_t>(i) >= filled) continue;
      plan.copies.push_back({from, to});
      ++moved_blocks_;
    }
  }
  ++compactions_;
}

}  // namespace millrace
