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
  if (!HasPlace() || (is_static() && !running_.empty())) return next;
  for (const WaitingQueue::Turn& turn : waiting_.Turns()) {
    next.insert(next.end(), turn.requests.begin(), turn.requests.end());
  }
  return next;
}

void Scheduler::Hold(RequestId request, bool held) {
  const auto node = sequences_.find(request);
  CHECK(node != sequences_.end());
  node->second.held = held;
}

void Scheduler::Admit(StepPlan& plan, Room& room) {
  // A static batch is formed whole; those for whom there is no row yet begin in a later step, and
  // only forks of its members join it.
  const bool is_formed = is_static() && !running_.empty();
  while ((room.prefill > 0 || is_static()) && !waiting_.empty() && HasPlace()) {
    const std::vector<Sequence*> candidates = Candidates();
    const bool begun = std::any_of(candidates.begin(), candidates.end(), [&](Sequence* sequence) {
      return (!is_formed || sequence->forked) && TryAdmit(*sequence, plan);
    });
    if (!begun) return;
    PlanSlice(*running_.back(), plan, room);
  }
}

// Of the first turn that has any: who may be admitted now, best first.
std::vector<Scheduler::Sequence*> Scheduler::Candidates() {
  for (const WaitingQueue::Turn& turn : waiting_.Turns()) {
    std::vector<Sequence*> candidates = CandidatesOf(turn);
    if (!candidates.empty()) return candidates;
  }
  return {};
}

// The longest cached prefix, by a block at least, then the first in order; and only that one where
// nothing is cached.
std::vector<Scheduler::Sequence*> Scheduler::CandidatesOf(const WaitingQueue::Turn& turn) {
  Sequence *first = nullptr, *best = nullptr;
  int32_t most_cached = 0;
  for (const RequestId request : turn.requests) {
    Sequence& sequence = sequences_.at(request);
    if (tree_ == nullptr) return {&sequence};
    const int32_t cached =
        sequence.prefix ? tree_->Count(sequence.prefix->space, Findable(sequence)) : 0;
    sequence.waited = !turn.due && WaitsForPrefix(sequence, cached);
    const bool held = sequence.held && !running_.empty();
    if (sequence.waited || held) continue;
    if (first == nullptr) first = &sequence;
    if (best == nullptr || cached >= most_cached + kBlockTokens) {
      best = &sequence;
      most_cached = cached;
    }
  }
  if (first == nullptr) return {};
  return best == first ? std::vector<Sequence*>{first} : std::vector<Sequence*>{best, first};
}

// Whether a running sequence is about to compute at least a block more of the beginning of
// `sequence` than the tree has of it; anything more, for one that waited in the step before.
bool Scheduler::WaitsForPrefix(const Sequence& sequence, int32_t cached) const {
  if (is_static() || !sequence.prefix || !waiting_.MayBeOvertaken(sequence.request)) {
    return false;
  }
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
bool Scheduler::TryAdmit(Sequence& sequence, StepPlan& plan) {
  PrefixTree::Match match;
  std::optional<std::vector<BlockRef>> region;
  if (is_contiguous()) {
    region = TryReserve(sequence, plan);
    if (!region) return false;
  } else if (!SecureBeginning(sequence, match)) {
    return false;
  }
  Begin(sequence, std::move(match), plan);
  if (region) Append(sequence, *std::move(region));
  // What is computed again is not the client's fault.
  const int32_t to_compute = sequence.charged ? 0 : sequence.pending();
  sequence.charged = true;
  waiting_.Begin(sequence.request, to_compute);
  running_.push_back(&sequence);
  return true;
}

// Finds what there is of the sequence's beginning; whether the rest fits.
bool Scheduler::SecureBeginning(Sequence& sequence, PrefixTree::Match& match) {
  if (sequence.forked) {
    match = ShareOf(*sequence.forked);
  } else if (sequence.prefix) {
    match = tree_->Find(sequence.prefix->space, Findable(sequence));
  }
  if (Fits(sequence, match)) return true;
  match.partial = BlockRef();  // in the tightest pool there is no room for a copy
  match.partial_tokens = 0;
  match.partial_node = nullptr;
  if (Fits(sequence, match)) return true;
  if (!running_.empty()) return false;
  // Alone, it fits the pool: nothing else may be in its way.
  if (tree_ != nullptr) tree_->UnpinAll();
  for (auto& [request, other] : sequences_) {
    if (&other != &sequence) other.forked.reset();
  }
  if (sequence.forked) sequence.forked->partial = BlockRef();
  CHECK(Fits(sequence, match));
  return true;
}

// Takes over what is there, in the tree or in the swap space; the part of a block is copied, for
// the sequence is going to write behind it.
void Scheduler::Begin(Sequence& sequence, PrefixTree::Match match, StepPlan& plan) {
  if (tree_ != nullptr) tree_->Touch(match);
  sequence.forked.reset();
  const int32_t cached = match.tokens();
  sequence.blocks = std::move(match.blocks);
  for (const BlockRef& block : sequence.blocks) sequence.block_table.push_back(block.id());
  sequence.cursor = match.cursor;
  sequence.computed = cached;
  if (sequence.swapped_tokens > cached) {
    SwapIn(sequence, plan);
  } else if (match.partial) {
    CHECK(Cover(sequence, cached));
    plan.copies.push_back({match.partial.id(), sequence.block_table.back()});
    copied_from_.push_back(std::move(match.partial));
  }
  sequence.swapped.clear();
  sequence.swapped_tokens = 0;
  plan.admitted.push_back({sequence.request, sequence.computed});
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

std::vector<RequestId> Scheduler::Overdue(TimePoint now) const {
  std::vector<RequestId> overdue;
  const Duration longest = cost_.PrefillRow().value_or(Duration(0)) * longest_with_deadline_;
  for (const auto& [deadline, request] : deadlines_) {
    const Duration left = deadline - now;
    if (left > longest) break;
    const Sequence& sequence = sequences_.at(request);
    if (left <= Duration(0) || CannotMeet(sequence, left)) overdue.push_back(request);
  }
  return overdue;
}

bool Scheduler::CannotMeet(const Sequence& sequence, Duration left) const {
  const std::optional<Duration> row = cost_.PrefillRow();
  if (!row || running_.empty() || !waiting_.IsWaiting(sequence.request)) return false;
  const int32_t rows = sequence.length - sequence.swapped_tokens;
  if (*row * rows <= left) return false;
  const bool may_be_cached = tree_ != nullptr && sequence.prefix;
  const int32_t cached =
      may_be_cached ? tree_->Count(sequence.prefix->space, Findable(sequence)) : 0;
  return *row * std::min(rows, sequence.length - cached) > left;
}

}  // namespace millrace
