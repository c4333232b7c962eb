// SchedulerLoad: a scheduler in steady service, to be measured: all sequences decode; the ones that
// reach their end are replaced. With `cached` blocks, a prefix tree is full of others' prompts, in
// chains of 100: finished sequences leave their blocks, and new ones take theirs from what is
// evicted.
#pragma once

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "continuous_batching/scheduler.h"

namespace millrace {

class SchedulerLoad {
 public:
  SchedulerLoad(int32_t running, int32_t cached) : pool_(cached + running * BlocksFor(kMaxLength)) {
    if (cached > 0) Fill();
    scheduler_.emplace(
        SchedulerConfig{.max_running = running, .max_step_tokens = running + kPrompt}, pool_,
        tree_ ? &*tree_ : nullptr);
    // Different lengths, so that the sequences open blocks and end at different steps.
    for (int32_t i = 0; i < running; ++i) Add(kPrompt + i * (kMaxLength - kPrompt) / running);
  }

  // Plan and commit; returns the step's rows.
  int64_t Step() {
    const StepPlan plan = scheduler_->PlanStep();
    appended_.assign(plan.slices.size(), 0);
    int64_t rows = 0;
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      rows += plan.slices[i].count;
      if (!plan.slices[i].samples) continue;
      appended_[i] = 1;
      tokens_.at(plan.slices[i].request).push_back(TokenId(next_token_++));
    }
    scheduler_->Commit(plan, appended_);
    for (const Slice& slice : plan.slices) {
      if (static_cast<int32_t>(tokens_.at(slice.request).size()) < kMaxLength) continue;
      scheduler_->Remove(slice.request);
      tokens_.erase(slice.request);
      Add(kPrompt);
    }
    return rows;
  }
  int32_t cached_blocks() const { return pool_.reclaimable(); }

 private:
  static constexpr int32_t kPrompt = 100;
  static constexpr int32_t kMaxLength = 1000;
  static constexpr int32_t kChain = 100;  // blocks

  void Fill() {
    tree_.emplace(pool_, PrefixTreeConfig{});
    while (pool_.available() > kChain) {
      auto blocks = pool_.TryAcquire(kChain).value();
      PrefixTree::Cursor cursor;
      tree_->Extend(cursor, "", FreshTokens(kChain * kBlockTokens), blocks);
    }
  }
  std::vector<TokenId> FreshTokens(int32_t count) {
    std::vector<TokenId> tokens;
    for (int32_t i = 0; i < count; ++i) tokens.push_back(TokenId(next_token_++));
    return tokens;
  }
  void Add(int32_t prompt) {
    const RequestId id(next_id_++);
    const std::vector<TokenId>& kept = tokens_[id] = FreshTokens(prompt);
    std::optional<PrefixUse> use;
    if (tree_) use = PrefixUse{.space = {}, .tokens = &kept};
    scheduler_->Add(id, prompt, kMaxLength, std::move(use));
  }

  BlockPool pool_;
  std::optional<PrefixTree> tree_;
  int32_t next_token_ = 0;
  int64_t next_id_ = 0;
  std::unordered_map<RequestId, std::vector<TokenId>> tokens_;  // nodes stay where they are
  std::optional<Scheduler> scheduler_;
  std::vector<int32_t> appended_;
};

}  // namespace millrace
