// Random operations on small pools with forks, with and without a prefix tree, and with contiguous
// memory. An array stands for the KV store: every slot says which beginning it was computed for, so
// that a block that was shared, copied, moved or written wrongly shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/rng.h"
#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

struct StoredRequest {
  std::vector<TokenId> tokens;
  int32_t max_length = 0;
  int32_t computed = 0;
  bool takes_part = true;
};

struct MemoryTotals {
  int64_t steps = 0, ended = 0, forks = 0, shared = 0, preemptions = 0, moved = 0, compactions = 0;
};

class MemoryWorld {
 public:
  enum class Kind { kPaged, kWithTree, kContiguous };

  MemoryWorld(uint64_t seed, int32_t blocks, Kind kind, MemoryTotals& totals)
      : rng_(seed, 9),
        kind_(kind),
        totals_(totals),
        pool_(blocks),
        config_({.max_running = Below(8) + 1,
                 .max_step_tokens = Below(100) + 1,
                 .max_chunk = Below(70) + 1,
                 .batching = Below(6) == 0 ? Batching::kStatic : Batching::kContinuous,
                 .layout = kind == Kind::kContiguous ? KvLayout::kContiguous : KvLayout::kPaged}),
        memory_(static_cast<size_t>(blocks), std::vector<uint64_t>(kBlockTokens)) {
    if (kind == Kind::kWithTree) tree_.emplace(pool_, PrefixTreeConfig{.max_pinned = blocks / 3});
    scheduler_.emplace(config_, pool_, tree_ ? &*tree_ : nullptr);
  }
  ~MemoryWorld() {
    totals_.compactions += scheduler_->usage().compactions;
    totals_.moved += scheduler_->usage().moved_blocks;
  }

  int32_t Below(int32_t bound) {
    return static_cast<int32_t>(rng_.NextU64() % static_cast<uint64_t>(bound));
  }
  size_t live() const { return known_.size(); }
  int32_t steps_without_end() const { return steps_without_end_; }

  void Add() {
    StoredRequest known;
    known.max_length = Below(pool_.capacity() * kBlockTokens - 1) + 2;
    // A third of the memory at most in most cases, so that several fit side by side.
    if (Below(4) > 0) known.max_length = std::max(2, known.max_length / 3);
    CounterRng text(static_cast<uint64_t>(Below(3)), 0);
    for (int32_t i = Below(known.max_length - 1) + 1; i > 0; --i) {
      known.tokens.push_back(TokenId(static_cast<int32_t>(text.NextU64() % 3)));
    }
    known.takes_part = Below(8) > 0;
    const RequestId id(next_id_++);
    const StoredRequest& kept = known_[id] = std::move(known);
    scheduler_->Add(id, static_cast<int32_t>(kept.tokens.size()), kept.max_length, UseOf(kept));
  }

  // From any running one that has computed anything, at its end or before.
  void Fork() {
    if (kind_ == Kind::kContiguous) return;
    std::vector<RequestId> parents;
    for (const auto& [id, known] : known_) {
      const bool runs = !scheduler_->BlockTable(id).empty();
      if (runs && known.computed > 0 && known.tokens.size() > 1) parents.push_back(id);
    }
    if (parents.empty()) return;
    const RequestId parent =
        parents[static_cast<size_t>(Below(static_cast<int32_t>(parents.size())))];
    StoredRequest child = known_.at(parent);
    const auto whole = static_cast<int32_t>(child.tokens.size());
    const int32_t length = Below(3) > 0 ? whole : Below(whole - 1) + 2;
    if (length >= child.max_length) return;
    child.tokens.resize(static_cast<size_t>(length - 1));
    child.tokens.push_back(TokenId(Below(3)));
    child.computed = 0;
    const RequestId id(next_id_++);
    const StoredRequest& kept = known_[id] = std::move(child);
    scheduler_->Fork(parent, id, length, kept.max_length, UseOf(kept));
    forks_.insert(id);
    ++totals_.forks;
    CheckPool();
  }

  void CancelOne() {
    auto at = known_.begin();
    std::advance(at, Below(static_cast<int32_t>(known_.size())));
    End(at->first);
  }

  void Step() {
    const StepPlan plan = scheduler_->PlanStep();
    CheckPlan(plan);
    if (testing::Test::HasFatalFailure()) return;
    for (const BlockCopy& copy : plan.copies) memory_[Index(copy.to)] = memory_[Index(copy.from)];
    for (const Slice& slice : plan.slices) Write(slice);
    for (const Slice& slice : plan.slices) CheckContent(slice);
    std::vector<int32_t> appended(plan.slices.size(), 0);
    std::vector<RequestId> finished;
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      StoredRequest& known = known_.at(plan.slices[i].request);
      known.computed += plan.slices[i].count;
      if (!plan.slices[i].samples) continue;
      appended[i] = 1;
      known.tokens.push_back(TokenId(Below(3)));
      const bool at_end = static_cast<int32_t>(known.tokens.size()) == known.max_length;
      if (at_end || Below(100) == 0) finished.push_back(plan.slices[i].request);
    }
    ++steps_without_end_;
    ++totals_.steps;
    scheduler_->Commit(plan, appended);
    copied_from_ = 0;
    for (RequestId id : finished) End(id);
    CheckPool();
  }

 private:
  static size_t Index(BlockId block) { return static_cast<size_t>(block.value); }

  std::optional<PrefixUse> UseOf(const StoredRequest& known) const {
    if (!tree_ || !known.takes_part) return std::nullopt;
    return PrefixUse{.space = {}, .tokens = &known.tokens};
  }

  uint64_t& Slot(RequestId id, int32_t position) {
    const BlockId block = scheduler_->BlockTable(id)[static_cast<size_t>(position / kBlockTokens)];
    return memory_[Index(block)][static_cast<size_t>(position % kBlockTokens)];
  }

  static uint64_t Next(uint64_t hash, TokenId token) {
    return Mix64(hash ^ static_cast<uint64_t>(token.value + 1));
  }

  void Write(const Slice& slice) {
    const StoredRequest& known = known_.at(slice.request);
    uint64_t hash = 0;
    for (int32_t p = 0; p < slice.first + slice.count; ++p) {
      hash = Next(hash, known.tokens[static_cast<size_t>(p)]);
      if (p >= slice.first) Slot(slice.request, p) = hash;
    }
  }

  // What the slice's attention reads.
  void CheckContent(const Slice& slice) {
    const StoredRequest& known = known_.at(slice.request);
    uint64_t hash = 0;
    for (int32_t p = 0; p < slice.first + slice.count; ++p) {
      hash = Next(hash, known.tokens[static_cast<size_t>(p)]);
      ASSERT_EQ(Slot(slice.request, p), hash)
          << "position " << p << " of a slice at " << slice.first << " of " << slice.request.value;
    }
  }

  void End(RequestId id) {
    ASSERT_TRUE(scheduler_->Remove(id));
    known_.erase(id);
    ++totals_.ended;
    steps_without_end_ = 0;
    CheckPool();
  }

  void CheckPlan(const StepPlan& plan) {
    copied_from_ = static_cast<int32_t>(plan.copies.size());
    ASSERT_EQ(plan.slices.empty(), known_.empty());
    for (RequestId id : plan.preempted) {
      known_.at(id).computed = 0;
      forks_.erase(id);
      std::erase(order_, id);
      ++totals_.preemptions;
      ASSERT_NE(kind_, Kind::kContiguous);
      ASSERT_TRUE(scheduler_->BlockTable(id).empty());
    }
    for (const Admission& admission : plan.admitted) {
      known_.at(admission.request).computed = admission.cached;
      order_.push_back(admission.request);
      if (forks_.erase(admission.request) > 0) totals_.shared += admission.cached;
    }
    std::map<BlockId, int32_t> holders;
    for (RequestId id : order_) {
      for (BlockId block : scheduler_->BlockTable(id)) ++holders[block];
    }
    int32_t rows = 0;
    std::set<RequestId> planned;
    for (const Slice& slice : plan.slices) {
      ASSERT_TRUE(planned.insert(slice.request).second);
      const StoredRequest& known = known_.at(slice.request);
      ASSERT_EQ(slice.first, known.computed);
      const int32_t end = slice.first + slice.count;
      ASSERT_EQ(slice.samples, end == static_cast<int32_t>(known.tokens.size()));
      const auto table = scheduler_->BlockTable(slice.request);
      ASSERT_GE(static_cast<int32_t>(table.size()) * kBlockTokens, end);
      for (int32_t p = slice.first; p < end; ++p) {
        ASSERT_EQ(holders.at(table[static_cast<size_t>(p / kBlockTokens)]), 1)
            << "writes into a block that another sequence reads";
      }
      rows += slice.count;
    }
    ASSERT_LE(rows, config_.max_step_tokens);
    ASSERT_LE(scheduler_->running(), config_.max_running);
    ASSERT_EQ(scheduler_->running(), static_cast<int32_t>(order_.size()));
    // The one admitted first makes progress.
    if (!order_.empty()) {
      ASSERT_TRUE(planned.contains(order_.front()));
    }
    CheckPool();
  }

  void CheckPool() {
    std::erase_if(order_, [&](RequestId id) { return !known_.contains(id); });
    std::erase_if(forks_, [&](RequestId id) { return !known_.contains(id); });
    std::set<BlockId> held;
    size_t places = 0;
    for (const auto& [id, known] : known_) {
      const auto table = scheduler_->BlockTable(id);
      held.insert(table.begin(), table.end());
      places += table.size();
      if (kind_ != Kind::kContiguous || table.empty()) continue;
      ASSERT_EQ(static_cast<int32_t>(table.size()), BlocksFor(known.max_length));
      ASSERT_EQ(table.back().value - table.front().value + 1, static_cast<int32_t>(table.size()));
    }
    if (kind_ == Kind::kContiguous) {
      ASSERT_EQ(places, held.size());
    }
    const int32_t others = pool_.held() - static_cast<int32_t>(held.size());
    ASSERT_GE(others, 0);
    if (!tree_ && forks_.empty()) {
      ASSERT_LE(others, copied_from_) << "blocks that nobody has";
    }
    ASSERT_EQ(pool_.available() + pool_.held(), pool_.capacity());
    ASSERT_TRUE(!tree_ || tree_->IsConsistent());
    ASSERT_EQ(scheduler_->running() + scheduler_->waiting(), static_cast<int32_t>(known_.size()));
  }

  CounterRng rng_;
  Kind kind_;
  MemoryTotals& totals_;
  BlockPool pool_;
  SchedulerConfig config_;
  std::optional<PrefixTree> tree_;
  std::map<RequestId, StoredRequest> known_;
  std::optional<Scheduler> scheduler_;
  std::vector<std::vector<uint64_t>> memory_;  // [block][slot]
  std::vector<RequestId> order_;               // the running ones, in order of admission
  std::set<RequestId> forks_;                  // that were not admitted yet
  int32_t copied_from_ = 0;                    // blocks that the plan keeps until it is done
  int64_t next_id_ = 0;
  int32_t steps_without_end_ = 0;
};

void Live(MemoryWorld& world, int32_t blocks) {
  for (int32_t operation = 0; operation < 278; ++operation) {
    const int32_t choice = world.Below(20);
    if (choice < 3 && world.live() < 20) {
      world.Add();
    } else if (choice < 6 && world.live() < 20) {
      world.Fork();
    } else if (choice == 6 && world.live() > 0 && world.Below(6) == 0) {
      world.CancelOne();
    } else {
      world.Step();
    }
    if (testing::Test::HasFatalFailure()) FAIL() << "operation " << operation;
  }
  while (world.live() > 0) {
    world.Step();
    ASSERT_LE(world.steps_without_end(), blocks * kBlockTokens);
    if (testing::Test::HasFatalFailure()) FAIL() << "at the end";
  }
}

// 100,000 operations on pools of 4 to 63 blocks, and what it takes to finish after that.
TEST(SchedulerKvPropertyTest, ForksAndRegionsThroughAHundredThousandOperations) {
  MemoryTotals paged, with_tree, contiguous;
  for (uint64_t seed = 0; seed < 360; ++seed) {
    const auto blocks = static_cast<int32_t>(4 + seed / 3 % 60);
    const auto kind = static_cast<MemoryWorld::Kind>(seed % 3);
    MemoryTotals& totals = kind == MemoryWorld::Kind::kPaged      ? paged
                           : kind == MemoryWorld::Kind::kWithTree ? with_tree
                                                                  : contiguous;
    MemoryWorld world(seed, blocks, kind, totals);
    Live(world, blocks);
    if (HasFatalFailure()) FAIL() << "world " << seed << " of " << blocks << " blocks";
  }
  // The test is worth something only if it went where it hurts: it counted 2,000 forks, 75
  // preemptions and 208 compactions when these limits were set.
  for (const MemoryTotals& totals : {paged, with_tree}) {
    EXPECT_GT(totals.forks, 1000);
    EXPECT_GT(totals.shared, 100000);
    EXPECT_GT(totals.preemptions, 50);
    EXPECT_GT(totals.ended, 3000);
  }
  EXPECT_GT(contiguous.compactions, 100);
  EXPECT_GT(contiguous.moved, 1000);
  EXPECT_GT(contiguous.ended, 2500);
  EXPECT_EQ(contiguous.preemptions, 0);
}

}  // namespace
}  // namespace millrace
