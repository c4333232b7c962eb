#include "continuous_batching/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace millrace {

Status Validate(const SchedulerConfig& config) {
  const std::pair<std::string_view, int32_t> fields[] = {
      {"max_running", config.max_running},
      {"max_step_tokens", config.max_step_tokens},
      {"max_chunk", config.max_chunk}};
  for (const auto& [name, value] : fields) {
    if (value < 1) {
      return Error{fmt::format("The scheduler's {} is {}, but must be at least 1.", name, value)};
    }
  }
  return {};
}

Scheduler::Scheduler(const SchedulerConfig& config, BlockPool& pool)
    : config_(config), pool_(&pool) {
  CHECK(Validate(config).ok());
}

void Scheduler::Add(RequestId request, int32_t prompt_tokens, int32_t max_length) {
  CHECK(prompt_tokens >= 1 && prompt_tokens < max_length);
  CHECK(BlocksFor(max_length) <= pool_->capacity());
  const auto [node, inserted] = sequences_.try_emplace(request);
  CHECK(inserted);
  Sequence& sequence = node->second;
  sequence.request = request;
  sequence.length = prompt_tokens;
  sequence.max_length = max_length;
  waiting_.push_back(&sequence);
}

bool Scheduler::Remove(RequestId request) {
  const auto node = sequences_.find(request);
  if (node == sequences_.end()) return false;
  std::erase(running_, &node->second);
  std::erase(waiting_, &node->second);
  sequences_.erase(node);
  return true;
}

StepPlan Scheduler::PlanStep() {
  StepPlan plan;
  int32_t room = config_.max_step_tokens;
  SecureNextTokens(plan);
  PlanRunning(plan, room);
  if (plan.preempted.empty()) Admit(plan, room);
  CHECK(!plan.slices.empty() || sequences_.empty());
  return plan;
}

// Securing one token for each before anyone gets more makes sure that a plan is never taken back:
// all preemption happens here, before the first slice.
void Scheduler::SecureNextTokens(StepPlan& plan) {
  for (size_t i = 0; i < running_.size(); ++i) {
    while (!Cover(*running_[i], running_[i]->computed + 1)) {
      if (i + 1 == running_.size()) return;
      Preempt(plan);
    }
  }
}

void Scheduler::Preempt(StepPlan& plan) {
  Sequence* latest = running_.back();
  running_.pop_back();
  latest->blocks.clear();
  latest->block_table.clear();
  latest->computed = 0;
  waiting_.push_front(latest);
  plan.preempted.push_back(latest->request);
}

void Scheduler::PlanRunning(StepPlan& plan, int32_t& room) {
  for (Sequence* sequence : running_) {
    if (sequence->pending() == 1) PlanSlice(*sequence, ChunkOf(*sequence, room), plan, room);
  }
  for (Sequence* sequence : running_) {
    if (sequence->pending() > 1) PlanSlice(*sequence, ChunkOf(*sequence, room), plan, room);
  }
}

void Scheduler::Admit(StepPlan& plan, int32_t& room) {
  // No more places than rows: so every running sequence can have one in every step.
  const size_t places = static_cast<size_t>(std::min(config_.max_running, config_.max_step_tokens));
  int32_t spare = pool_->available();  // blocks that nobody is going to need soon
  for (const Sequence* sequence : running_) spare -= BlocksAhead(*sequence);
  while (room > 0 && !waiting_.empty() && running_.size() < places) {
    Sequence& next = *waiting_.front();
    spare -= BlocksAhead(next);
    if (spare < 0) return;
    waiting_.pop_front();
    running_.push_back(&next);
    PlanSlice(next, ChunkOf(next, room), plan, room);
  }
}

// How many more blocks a sequence is going to need for what it knows and kBlockTokens beyond.
int32_t Scheduler::BlocksAhead(const Sequence& sequence) {
  const int32_t soon = std::min(sequence.max_length, sequence.length + kBlockTokens);
  return BlocksFor(soon) - static_cast<int32_t>(sequence.blocks.size());
}

// The tokens of `sequence` that this step can compute: 0 where it has to sit out.
int32_t Scheduler::ChunkOf(const Sequence& sequence, int32_t room) const {
  const int64_t coverable =
      sequence.covered() + int64_t{pool_->available()} * kBlockTokens - sequence.computed;
  const int32_t wanted = std::min({sequence.pending(), config_.max_chunk, room});
  return static_cast<int32_t>(std::min<int64_t>(wanted, coverable));
}

void Scheduler::PlanSlice(Sequence& sequence, int32_t count, StepPlan& plan, int32_t& room) {
  if (count == 0) return;
  const int32_t end = sequence.computed + count;
  CHECK(Cover(sequence, end));
  plan.slices.push_back({sequence.request, sequence.computed, count, end == sequence.length});
  room -= count;
}

// Gives the sequence blocks for its first `tokens` tokens; false, and nothing taken, where the pool
// has too few.
bool Scheduler::Cover(Sequence& sequence, int32_t tokens) {
  const int32_t missing = BlocksFor(tokens) - static_cast<int32_t>(sequence.blocks.size());
  if (missing <= 0) return true;
  auto blocks = pool_->TryAcquire(missing);
  if (!blocks) return false;
  for (BlockRef& block : *blocks) {
    sequence.block_table.push_back(block.id());
    sequence.blocks.push_back(std::move(block));
  }
  return true;
}

void Scheduler::Commit(const StepPlan& plan, std::span<const int32_t> appended) {
  CHECK(appended.size() == plan.slices.size());
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Slice& slice = plan.slices[i];
    const auto node = sequences_.find(slice.request);
    if (node == sequences_.end()) continue;
    Sequence& sequence = node->second;
    CHECK(sequence.computed == slice.first);
    CHECK(slice.samples ? appended[i] >= 1 : appended[i] == 0);
    sequence.computed += slice.count;
    sequence.length += appended[i];
    CHECK(sequence.length <= sequence.max_length);
  }
}

std::span<const BlockId> Scheduler::BlockTable(RequestId request) const {
  const auto node = sequences_.find(request);
  CHECK(node != sequences_.end());
  return node->second.block_table;
}

int32_t Scheduler::running() const { return static_cast<int32_t>(running_.size()); }
int32_t Scheduler::waiting() const { return static_cast<int32_t>(waiting_.size()); }

}  // namespace millrace
