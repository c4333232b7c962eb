// The swap space: copies of preempted requests' blocks, in memory of their own. The scheduler says
// what goes and comes; here the bytes move.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/engine_state.h"

namespace millrace {
namespace {

void Copy(KvStore& from_store, BlockId from, KvStore& to_store, BlockId to) {
  const std::span<const std::byte> source = from_store.BlockData(from);
  const std::span<std::byte> target = to_store.BlockData(to);
  CHECK(source.size() == target.size());
  std::memcpy(target.data(), source.data(), source.size());
}

}  // namespace

// So that the first preemption knows what copying costs: one block there and back, the second time,
// when the memory has been touched.
void Engine::State::StartSwap() {
  CHECK(swap->type() == kv.type() && swap->shape().layers == kv.shape().layers);
  progress.swap_blocks = swap->blocks();
  const std::vector<BlockRef> scratch = pool.TryAcquire(1).value();
  const BlockId block = scratch[0].id();
  Duration took{};
  for (int i = 0; i < 2; ++i) {
    const TimePoint start = clock.Now();
    Copy(kv, block, *swap, BlockId(0));
    Copy(*swap, BlockId(0), kv, block);
    took = clock.Now() - start;
  }
  scheduler.ObserveSwap(2, took);
  progress.swap_block_copy = scheduler.cost().BlockCopy().value_or(Duration(0));
}

Duration Engine::State::Swap(const StepPlan& plan) {
  const auto blocks = static_cast<int32_t>(plan.swapped_out.size() + plan.swapped_in.size());
  if (blocks == 0) return Duration(0);
  const TimePoint start = clock.Now();
  for (const BlockCopy& copy : plan.swapped_out) Copy(kv, copy.from, *swap, copy.to);
  for (const BlockCopy& copy : plan.swapped_in) Copy(*swap, copy.from, kv, copy.to);
  const Duration took = clock.Now() - start;
  scheduler.ObserveSwap(blocks, took);
  progress.swapped_out += static_cast<int64_t>(plan.swapped_out.size());
  progress.swapped_in += static_cast<int64_t>(plan.swapped_in.size());
  progress.swap_block_copy = scheduler.cost().BlockCopy().value_or(Duration(0));
  return took;
}

}  // namespace millrace
