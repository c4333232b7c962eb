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
      {"max_chunk", config.max_chunk},
      {"reorder_window", config.reorder_window}};
  for (const auto& [name, value] : fields) {
    if (value < 1) {
      return Error{fmt::format("The scheduler's {} is {}, but must be at least 1.", name, value)};
    }
  }
  const std::pair<std::string_view, int32_t> bounds[] = {{"max_overtakes", config.max_overtakes},
                                                         {"max_draft", config.max_draft},
                                                         {"max_passes", config.max_passes}};
  for (const auto& [name, value] : bounds) {
    if (value < 0) {
      return Error{fmt::format("The scheduler's {} is {}, but must be at least 0.", name, value)};
    }
  }
  if (config.target_interval && *config.target_interval <= Duration(0)) {
    return Error{"The scheduler's target_interval must be more than nothing."};
  }
  return {};
}

Scheduler::Scheduler(const SchedulerConfig& config, BlockPool& pool, PrefixTree* tree,
                     BlockPool* swap)
    : config_(config),
      pool_(&pool),
      tree_(tree),
      swap_(swap),
      waiting_({config.reorder_window, config.max_overtakes, config.max_passes}) {
  CHECK(Validate(config).ok());
  CHECK(tree == nullptr || !is_contiguous());
}

void Scheduler::Add(RequestId request, int32_t prompt_tokens, int32_t max_length,
                    std::optional<PrefixUse> prefix, const Terms& terms) {
  Insert(request, prompt_tokens, max_length, std::move(prefix), terms);
  waiting_.Add(request, terms.client, terms.priority);
}

Scheduler::Sequence& Scheduler::Insert(RequestId request, int32_t tokens, int32_t max_length,
                                       std::optional<PrefixUse> prefix, const Terms& terms) {
  CHECK(tokens >= 1 && tokens < max_length);
  CHECK(BlocksFor(max_length) <= pool_->capacity());
  const auto [node, inserted] = sequences_.try_emplace(request);
  CHECK(inserted);
  Sequence& sequence = node->second;
  sequence.request = request;
  sequence.length = tokens;
  sequence.max_length = max_length;
  if (tree_ != nullptr) sequence.prefix = std::move(prefix);
  sequence.deadline = terms.deadline;
  sequence.max_chunk =
      terms.max_chunk > 0 ? std::min(terms.max_chunk, config_.max_chunk) : config_.max_chunk;
  if (terms.deadline) {
    deadlines_.emplace(*terms.deadline, request);
    longest_with_deadline_ = std::max(longest_with_deadline_, max_length);
  }
  return sequence;
}

bool Scheduler::Remove(RequestId request, Afterwards afterwards) {
  const auto node = sequences_.find(request);
  if (node == sequences_.end()) return false;
  if (afterwards == Afterwards::kRemember) Remember(node->second, Tail::kAll);
  if (node->second.deadline) deadlines_.erase({*node->second.deadline, request});
  std::erase(running_, &node->second);
  waiting_.Erase(request);
  sequences_.erase(node);
  return true;
}

StepPlan Scheduler::PlanStep() {
  StepPlan plan;
  Room room{.rows = config_.max_step_tokens, .prefill = config_.max_step_tokens};
  SecureNextTokens(plan);
  PlanRunning(plan, room);
  if (plan.preempted.empty()) Admit(plan, room);
  GiveDraftRoom(plan, room);
  CHECK(!plan.slices.empty() || sequences_.empty());
  return plan;
}

// Securing one token for each before anyone gets more makes sure that a plan is never taken back:
// all preemption happens here, before the first slice.
void Scheduler::SecureNextTokens(StepPlan& plan) {
  for (size_t i = 0; i < running_.size(); ++i) {
    while (!Cover(*running_[i], running_[i]->computed + 1)) {
      if (GiveBackFork(plan)) continue;
      if (i + 1 < running_.size()) {
        Preempt(plan);
      } else if (i == 0 && tree_ != nullptr && tree_->stats().pinned > 0) {
        tree_->UnpinAll();  // alone, it fits the pool: nothing else can be in its way
      } else {
        return;
      }
    }
  }
}

void Scheduler::Preempt(StepPlan& plan) {
  Sequence* latest = running_.back();
  running_.pop_back();
  SwapOut(*latest, plan);
  Remember(*latest, Tail::kAll);
  Release(*latest);
  waiting_.PutBack(latest->request);
  plan.preempted.push_back(latest->request);
}

void Scheduler::Release(Sequence& sequence) {
  sequence.blocks.clear();
  sequence.block_table.clear();
  sequence.cursor = {};
  sequence.computed = 0;
}

void Scheduler::Remember(Sequence& sequence, Tail tail) {
  if (!sequence.prefix || sequence.computed == 0) return;
  const int32_t known =
      tail == Tail::kAll ? sequence.computed : sequence.computed / kBlockTokens * kBlockTokens;
  const auto changed = static_cast<size_t>(sequence.cursor.blocks);
  tree_->Extend(sequence.cursor, sequence.prefix->space,
                sequence.known().first(static_cast<size_t>(known)), sequence.blocks);
  // What others made known first has taken the place of its own blocks.
  for (size_t i = changed; i < sequence.blocks.size(); ++i) {
    sequence.block_table[i] = sequence.blocks[i].id();
  }
  if (tail == Tail::kAll) tree_->Touch(sequence.cursor);
}

void Scheduler::PlanRunning(StepPlan& plan, Room& room) {
  for (Sequence* sequence : running_) {
    if (sequence->pending() == 1) PlanSlice(*sequence, plan, room);
  }
  // Where nobody decodes, nobody waits for the step's end.
  const auto decode_rows = static_cast<int32_t>(plan.slices.size());
  if (config_.target_interval && decode_rows > 0) {
    room.prefill = cost_.PrefillRows(decode_rows, *config_.target_interval, room.rows);
  }
  for (Sequence* sequence : running_) {
    if (sequence->pending() > 1) PlanSlice(*sequence, plan, room);
  }
}

// The tokens of `sequence` that this step can compute: 0 where it has to sit out.
int32_t Scheduler::ChunkOf(const Sequence& sequence, const Room& room) const {
  const int64_t coverable =
      sequence.covered() + int64_t{Obtainable()} * kBlockTokens - sequence.computed;
  int32_t wanted = std::min({sequence.pending(), sequence.max_chunk, room.rows});
  if (sequence.pending() > 1 && wanted > room.prefill) {
    wanted = room.prefill;
    // To the end of a block, where that leaves anything.
    const int32_t end = (sequence.computed + wanted) / kBlockTokens * kBlockTokens;
    if (end > sequence.computed) wanted = end - sequence.computed;
  }
  return static_cast<int32_t>(std::min<int64_t>(wanted, coverable));
}

void Scheduler::PlanSlice(Sequence& sequence, StepPlan& plan, Room& room) {
  const int32_t count = ChunkOf(sequence, room);
  if (count == 0) return;
  const bool decodes = sequence.pending() == 1;
  const int32_t end = sequence.computed + count;
  CHECK(Cover(sequence, end));
  plan.slices.push_back({.request = sequence.request,
                         .first = sequence.computed,
                         .count = count,
                         .samples = end == sequence.length});
  room.rows -= count;
  room.prefill = std::min(room.rows, decodes ? room.prefill : room.prefill - count);
}

// Of the rows that are left, the same number for every decoding sequence, so that none drafts at
// another's cost.
void Scheduler::GiveDraftRoom(StepPlan& plan, const Room& room) const {
  if (config_.max_draft == 0) return;
  const auto decodes = [](const Slice& slice) { return slice.samples && slice.count == 1; };
  const auto decoding = std::count_if(plan.slices.begin(), plan.slices.end(), decodes);
  if (decoding == 0) return;
  const auto each = std::min(config_.max_draft, room.rows / static_cast<int32_t>(decoding));
  for (Slice& slice : plan.slices) {
    if (!decodes(slice)) continue;
    const Sequence& sequence = sequences_.at(slice.request);
    // One token comes in any case.
    slice.draft_room = std::clamp(sequence.max_length - sequence.length - 1, 0, each);
  }
}

int32_t Scheduler::ReserveDraft(Slice& slice, int32_t wanted) {
  const auto node = sequences_.find(slice.request);
  CHECK(node != sequences_.end() && wanted <= slice.draft_room);
  Sequence& sequence = node->second;
  if (!Cover(sequence, sequence.length + wanted)) {
    wanted = std::min(wanted, sequence.covered() - sequence.length);
  }
  slice.drafted = wanted;
  return wanted;
}

// Gives the sequence blocks for its first `tokens` tokens; false, and nothing taken, where there
// are too few.
bool Scheduler::Cover(Sequence& sequence, int32_t tokens) {
  const int32_t missing = BlocksFor(tokens) - static_cast<int32_t>(sequence.blocks.size());
  if (missing <= 0) return true;
  if (missing > Obtainable()) return false;
  if (missing > pool_->available()) tree_->Evict(missing - pool_->available());
  auto blocks = pool_->TryAcquire(missing);
  CHECK(blocks.has_value());
  Append(sequence, *std::move(blocks));
  return true;
}

void Scheduler::Append(Sequence& sequence, std::vector<BlockRef> blocks) {
  for (BlockRef& block : blocks) {
    sequence.block_table.push_back(block.id());
    sequence.blocks.push_back(std::move(block));
  }
}

void Scheduler::Commit(const StepPlan& plan, std::span<const int32_t> appended) {
  CHECK(appended.size() == plan.slices.size());
  copied_from_.clear();
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Slice& slice = plan.slices[i];
    const auto node = sequences_.find(slice.request);
    if (node == sequences_.end()) continue;
    Sequence& sequence = node->second;
    CHECK(sequence.computed == slice.first);
    CHECK(slice.samples ? appended[i] >= 1 : appended[i] == 0);
    CHECK(appended[i] <= 1 + slice.drafted);
    sequence.computed += slice.count + std::max(appended[i] - 1, 0);
    sequence.length += appended[i];
    waiting_.Generated(sequence.request, appended[i]);
    CHECK(sequence.length <= sequence.max_length);
    while (slice.drafted > 0 && !is_contiguous() &&
           sequence.blocks.size() > static_cast<size_t>(BlocksFor(sequence.length))) {
      sequence.blocks.pop_back();
      sequence.block_table.pop_back();
    }
    // After a chunk the part of a block, too: those who wait for it begin like this one, and may
    // end there. While decoding, blocks as they become full.
    const bool block_is_full = sequence.computed / kBlockTokens > sequence.cursor.blocks;
    if (slice.count > 1) {
      Remember(sequence, Tail::kAll);
    } else if (block_is_full) {
      Remember(sequence, Tail::kWholeBlocks);
    }
  }
}

void Scheduler::Observe(const StepPlan& plan, Duration took) {
  int32_t decode_rows = 0, prefill_rows = 0;
  for (const Slice& slice : plan.slices) {
    (slice.samples && slice.count == 1 ? decode_rows : prefill_rows) += slice.count + slice.drafted;
  }
  cost_.Observe(decode_rows, prefill_rows, took);
}

std::span<const BlockId> Scheduler::BlockTable(RequestId request) const {
  const auto node = sequences_.find(request);
  CHECK(node != sequences_.end());
  return node->second.block_table;
}

int32_t Scheduler::running() const { return static_cast<int32_t>(running_.size()); }
int32_t Scheduler::waiting() const { return waiting_.size(); }

KvUsage Scheduler::usage() const {
  KvUsage usage{.compactions = compactions_, .moved_blocks = moved_blocks_};
  if (is_contiguous()) usage.unusable_blocks = pool_->available() - pool_->LongestFreeRun();
  for (const Sequence* sequence : running_) {
    usage.unused_slots += sequence->covered() - sequence->computed;
  }
  return usage;
}

void Scheduler::Mark(KvMap& map) const {
  for (const auto& [request, sequence] : sequences_) {
    if (!sequence.forked) continue;
    for (const BlockRef& block : sequence.forked->blocks) {
      map.blocks[static_cast<size_t>(block.id().value)].requests.push_back(request);
    }
  }
  for (const Sequence* sequence : running_) {
    map.sequences.push_back({sequence->request, sequence->computed, sequence->max_length});
    int32_t left = sequence->computed;
    for (const BlockId block : sequence->block_table) {
      KvBlockUse& use = map.blocks[static_cast<size_t>(block.value)];
      use.requests.push_back(sequence->request);
      use.filled = std::max(use.filled, std::clamp(left, 0, kBlockTokens));
      left -= kBlockTokens;
    }
  }
}

}  // namespace millrace
