// Which waiting sequence begins next, and with what.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "continuous_batching/scheduler.h"

namespace millrace {

// No more places than rows: so every running sequence can have one in every step.
bool Scheduler::HasPlace() const {
  return running() < std::min(config_.max_running, config_.max_step_tokens);
}

std::vector<RequestId> Scheduler::NextToAdmit() const {
  std::vector<RequestId> next;
  const size_t window = std::min(waiting_.size(), static_cast<size_t>(config_.reorder_window));
  const bool may_admit = HasPlace() && (!is_static() || running_.empty());
  for (size_t i = 0; may_admit && i < window; ++i) next.push_back(waiting_[i]->request);
  return next;
}

void Scheduler::Hold(RequestId request, bool held) {
  const auto node = sequences_.find(request);
  CHECK(node != sequences_.end());
  node->second.held = held;
}

void Scheduler::Admit(StepPlan& plan, Room& room) {
  if (is_static() && !running_.empty()) return;
  // A static batch is formed whole; those for whom there is no row yet begin in a later step.
  while ((room.prefill > 0 || is_static()) && !waiting_.empty() && HasPlace()) {
    const std::vector<size_t> candidates = Candidates();
    const bool begun = std::any_of(candidates.begin(), candidates.end(),
                                   [&](size_t index) { return TryAdmit(index, plan); });
    if (!begun) return;
    PlanSlice(*running_.back(), plan, room);
  }
}

// The places in the queue that may be admitted now, best first: the longest cached prefix, by a
// block at least, then the first in order; and only that one where nothing is cached.
std::vector<size_t> Scheduler::Candidates() {
  if (tree_ == nullptr) return {0};
  const size_t window = std::min(waiting_.size(), static_cast<size_t>(config_.reorder_window));
  std::optional<size_t> first, best;
  int32_t most_cached = 0;
  for (size_t i = 0; i < window; ++i) {
    Sequence& sequence = *waiting_[i];
    const int32_t cached =
        sequence.prefix ? tree_->Count(sequence.prefix->space, Findable(sequence)) : 0;
    sequence.waited = WaitsForPrefix(sequence, cached);
    const bool held = sequence.held && !running_.empty();
    if (!sequence.waited && !held) {
      if (!first) first = i;
      if (!best || cached >= most_cached + kBlockTokens) {
        best = i;
        most_cached = cached;
      }
    }
    if (!MayBeOvertaken(sequence)) break;
  }
  if (!first) return {};
  return best == first ? std::vector<size_t>{*first} : std::vector<size_t>{*best, *first};
}

bool Scheduler::MayBeOvertaken(const Sequence& sequence) const {
  return !sequence.preempted && sequence.overtaken < config_.max_overtakes;
}

// Whether a running sequence is about to compute at least a block more of the beginning of
// `sequence` than the tree has of it; anything more, for one that waited in the step before.
bool Scheduler::WaitsForPrefix(const Sequence& sequence, int32_t cached) const {
  if (is_static() || !sequence.prefix || !MayBeOvertaken(sequence)) return false;
  const std::span<const TokenId> wanted = Findable(sequence);
  const size_t enough = static_cast<size_t>(cached + (sequence.waited ? 1 : kBlockTokens));
  if (wanted.size() < enough) return false;
  return std::any_of(running_.begin(), running_.end(), [&](const Sequence* other) {
    if (!other->prefix || other->pending() <= 1) return false;
    if (other->prefix->space != sequence.prefix->space) return false;
    const std::span<const TokenId> coming = other->known();
    // One comparison tells most apart.
    if (coming.size() < enough || coming[enough - 1] != wanted[enough - 1]) return false;
    const auto end = std::mismatch(wanted.begin(), wanted.end(), coming.begin(), coming.end());
    const auto common = static_cast<size_t>(end.first - wanted.begin());
    return common >= enough && common > static_cast<size_t>(other->computed);
  });
}

// What may be taken from the tree: not the last token, whose logits are wanted.
std::span<const TokenId> Scheduler::Findable(const Sequence& sequence) const {
  return sequence.known().first(static_cast<size_t>(sequence.length - 1));
}

// Moves the sequence from the queue to the running ones if it fits; otherwise nothing changes.
bool Scheduler::TryAdmit(size_t index, StepPlan& plan) {
  Sequence& sequence = *waiting_[index];
  PrefixTree::Match match;
  if (sequence.prefix) match = tree_->Find(sequence.prefix->space, Findable(sequence));
  if (!Fits(sequence, match)) {
    match.partial = BlockRef();  // in the tightest pool there is no room for a copy
    match.partial_tokens = 0;
    match.partial_node = nullptr;
    if (!Fits(sequence, match)) {
      if (!running_.empty()) return false;
      if (tree_ != nullptr) tree_->UnpinAll();  // alone, it fits the pool
      CHECK(Fits(sequence, match));
    }
  }
  for (size_t i = 0; i < index; ++i) ++waiting_[i]->overtaken;
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
  Begin(sequence, std::move(match), plan);
  running_.push_back(&sequence);
  return true;
}

// Takes over what is there; the part of a block is copied, for the sequence is going to write
// behind it.
void Scheduler::Begin(Sequence& sequence, PrefixTree::Match match, StepPlan& plan) {
  if (tree_ != nullptr) tree_->Touch(match);
  const int32_t cached = match.tokens();
  sequence.blocks = std::move(match.blocks);
  for (const BlockRef& block : sequence.blocks) sequence.block_table.push_back(block.id());
  sequence.cursor = match.cursor;
  sequence.computed = cached;
  if (match.partial) {
    CHECK(Cover(sequence, cached));
    plan.copies.push_back({match.partial.id(), sequence.block_table.back()});
    copied_from_.push_back(std::move(match.partial));
  }
  plan.admitted.push_back({sequence.request, cached});
}

// With the blocks of `match` in hand: whether what else `sequence` is going to need is there,
// beside what the running ones are.
bool Scheduler::Fits(const Sequence& sequence, const PrefixTree::Match& match) const {
  int64_t spare = Obtainable();
  for (const Sequence* other : running_) spare -= BlocksAhead(*other);
  return spare >= BlocksAhead(sequence) - static_cast<int32_t>(match.blocks.size());
}

// How many more blocks a sequence is going to need for what it knows and kBlockTokens beyond.
int32_t Scheduler::BlocksAhead(const Sequence& sequence) {
  const int32_t soon = std::min(sequence.max_length, sequence.length + kBlockTokens);
  return BlocksFor(soon) - static_cast<int32_t>(sequence.blocks.size());
}

// Blocks that are free, or that nobody holds but the tree.
int32_t Scheduler::Obtainable() const { return pool_->available() + pool_->reclaimable(); }

}  // namespace millrace
