// Forks: sequences that go on from another's blocks, shared by reference. Source: Kwon et al. 2023
// ("PagedAttention"), section 4.4, parallel sampling and beam search.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "continuous_batching/scheduler.h"

namespace millrace {

void Scheduler::Fork(RequestId parent, RequestId child, int32_t length, int32_t max_length,
                     std::optional<PrefixUse> prefix, const Terms& terms) {
  CHECK(!is_contiguous() && length > 1 && length < max_length);
  const auto from = sequences_.find(parent);
  CHECK(from != sequences_.end() && !from->second.blocks.empty());
  const Sequence& source = from->second;  // nodes stay where they are
  Sequence& sequence = Insert(child, length, max_length, std::move(prefix), terms);
  const int32_t shared = std::min(source.computed, length - 1);
  PrefixTree::Match match;
  for (int32_t i = 0; i < shared / kBlockTokens; ++i) {
    match.blocks.push_back(source.blocks[static_cast<size_t>(i)].Share());
  }
  match.partial_tokens = shared % kBlockTokens;
  if (match.partial_tokens > 0) match.partial = source.blocks[match.blocks.size()].Share();
  const bool same_space = sequence.prefix && source.prefix;
  if (same_space && source.cursor.blocks <= static_cast<int32_t>(match.blocks.size())) {
    match.cursor = source.cursor;
  }
  sequence.forked = std::move(match);
  sequence.charged = true;  // its prompt, to the parent
  waiting_.AddBegun(child, terms.client);
}

// More references to the same.
PrefixTree::Match Scheduler::ShareOf(const PrefixTree::Match& match) {
  PrefixTree::Match share;
  for (const BlockRef& block : match.blocks) share.blocks.push_back(block.Share());
  if (match.partial) share.partial = match.partial.Share();
  share.partial_tokens = match.partial_tokens;
  share.cursor = match.cursor;
  return share;
}

// The latest waiting fork that shares a block which nobody who runs has lets go of all it shares;
// false where there is none.
bool Scheduler::GiveBackFork(StepPlan& plan) {
  std::vector<bool> in_use(static_cast<size_t>(pool_->capacity()));
  for (const Sequence* sequence : running_) {
    for (const BlockId block : sequence->block_table) {
      in_use[static_cast<size_t>(block.value)] = true;
    }
  }
  const auto is_idle = [&](const BlockRef& block) {
    return !in_use[static_cast<size_t>(block.id().value)];
  };
  Sequence* latest = nullptr;
  for (auto& [request, sequence] : sequences_) {
    if (!sequence.forked || (latest != nullptr && request < latest->request)) continue;
    const PrefixTree::Match& shared = *sequence.forked;
    if ((shared.partial && is_idle(shared.partial)) ||
        std::any_of(shared.blocks.begin(), shared.blocks.end(), is_idle)) {
      latest = &sequence;
    }
  }
  if (latest == nullptr) return false;
  latest->forked.reset();
  plan.preempted.push_back(latest->request);
  return true;
}

}  // namespace millrace
