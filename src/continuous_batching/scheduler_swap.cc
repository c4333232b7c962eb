// What a preempted sequence keeps: copies of its blocks in the swap space.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "continuous_batching/scheduler.h"

namespace millrace {

// How many of its first blocks a sequence that is preempted should keep: as many as there is room
// for, where copying one out and in again is quicker than computing it; all of them or none, since
// each block costs the same. What was not measured yet counts as quick.
int32_t Scheduler::WorthKeeping(const Sequence& sequence) const {
  if (swap_ == nullptr) return 0;
  const auto copy = cost_.BlockCopy();
  const auto row = cost_.PrefillRow();
  const bool slower = copy && row && 2 * *copy >= kBlockTokens * *row;
  if (slower && config_.swap_use == SchedulerConfig::SwapUse::kMeasured) return 0;
  return std::min(BlocksFor(sequence.computed), swap_->available());
}

// Before its blocks are given back: they hold what they did until the plan's copies are done.
void Scheduler::SwapOut(Sequence& sequence, StepPlan& plan) {
  const int32_t count = WorthKeeping(sequence);
  if (count == 0) return;
  sequence.swapped = swap_->TryAcquire(count).value();
  sequence.swapped_tokens = std::min(sequence.computed, count * kBlockTokens);
  for (size_t i = 0; i < sequence.swapped.size(); ++i) {
    plan.swapped_out.push_back({sequence.block_table[i], sequence.swapped[i].id()});
  }
}

// Brings back what is behind the blocks that the sequence has already.
void Scheduler::SwapIn(Sequence& sequence, StepPlan& plan) {
  const size_t known = sequence.blocks.size();
  CHECK(Cover(sequence, sequence.swapped_tokens));
  sequence.computed = sequence.swapped_tokens;
  for (size_t i = known; i < sequence.swapped.size(); ++i) {
    plan.swapped_in.push_back({sequence.swapped[i].id(), sequence.block_table[i]});
    copied_from_.push_back(std::move(sequence.swapped[i]));
  }
}

}  // namespace millrace
