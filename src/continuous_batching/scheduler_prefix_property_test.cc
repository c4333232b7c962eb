// Random operations on small pools with a prefix tree. A memory stands for the KV store: every slot
// says which beginning it was computed for, so that a block that was shared, copied, evicted or
// written wrongly shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/rng.h"
#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

struct CachedRequest {
  Tokens tokens;
  std::string space;
  int32_t max_length = 0;
  int32_t computed = 0;
  int32_t overtaken = 0;
  Terms terms;
  bool admitted = false;   // ever
  bool preempted = false;  // waits again
  bool takes_part = true;
};

struct PrefixTotals {
  int64_t preemptions = 0, ended = 0, cached = 0, copies = 0, evicted = 0, most_overtaken = 0,
          swapped_in = 0;
};

class PrefixWorld {
 public:
  PrefixWorld(uint64_t seed, PrefixTotals& totals)
      : rng_(seed, 5),
        totals_(totals),
        pool_(Below(30) + 4),
        tree_(pool_, {.max_pinned = pool_.capacity() / 3}),
        config_({.max_running = Below(8) + 1,
                 .max_step_tokens = Below(100) + 1,
                 .max_chunk = Below(70) + 1,
                 .reorder_window = Below(6) + 1,
                 .max_overtakes = Below(5),
                 .batching = Below(6) == 0 ? Batching::kStatic : Batching::kContinuous}),
        swap_(Below(20) + 1),
        swaps_(Below(3) > 0),
        scheduler_(config_, pool_, &tree_, swaps_ ? &swap_ : nullptr),
        memory_(static_cast<size_t>(pool_.capacity()),
                std::vector<uint64_t>(static_cast<size_t>(kBlockTokens))),
        swap_memory_(static_cast<size_t>(swap_.capacity()),
                     std::vector<uint64_t>(static_cast<size_t>(kBlockTokens))) {}
  ~PrefixWorld() { totals_.evicted += tree_.stats().evicted; }

  int32_t Below(int32_t bound) {
    return static_cast<int32_t>(rng_.NextU64() % static_cast<uint64_t>(bound));
  }
  size_t live() const { return known_.size(); }
  int32_t capacity() const { return pool_.capacity(); }
  int32_t steps_without_end() const { return steps_without_end_; }

  void Add() {
    CachedRequest known;
    known.tokens = RandomPrompt();
    const auto prompt = static_cast<int32_t>(known.tokens.size());
    known.max_length = prompt + 1 + Below(pool_.capacity() * kBlockTokens - prompt);
    known.space = Below(4) == 0 ? "b" : "a";
    known.takes_part = Below(8) > 0;
    known.terms = {.client = Below(3) == 0 ? "b" : "a", .priority = Below(4) == 0 ? 1 : 0};
    const RequestId id(next_id_++);
    const CachedRequest& kept = known_[id] = std::move(known);
    std::optional<PrefixUse> use;
    if (kept.takes_part) use = PrefixUse{.space = kept.space, .tokens = &kept.tokens};
    scheduler_.Add(id, prompt, kept.max_length, std::move(use), kept.terms);
  }

  void CancelOne() {
    auto at = known_.begin();
    std::advance(at, Below(static_cast<int32_t>(known_.size())));
    End(at->first);
  }

  void PinOne() {
    if (known_.empty()) return;
    const CachedRequest& known = known_.begin()->second;
    if (Below(2) == 0) {
      tree_.Pin(known.space, known.tokens);
    } else {
      tree_.Unpin(known.space, known.tokens);
    }
  }

  void Step() {
    const StepPlan plan = scheduler_.PlanStep();
    CheckPlan(plan);
    if (::testing::Test::HasFatalFailure()) return;
    for (const BlockCopy& copy : plan.swapped_out) {
      swap_memory_[Index(copy.to)] = memory_[Index(copy.from)];
    }
    for (const BlockCopy& copy : plan.swapped_in) {
      memory_[Index(copy.to)] = swap_memory_[Index(copy.from)];
      ++totals_.swapped_in;
    }
    for (const BlockCopy& copy : plan.copies) memory_[Index(copy.to)] = memory_[Index(copy.from)];
    for (const Slice& slice : plan.slices) Write(slice);
    for (const Slice& slice : plan.slices) CheckContent(slice);
    std::vector<int32_t> appended(plan.slices.size(), 0);
    std::vector<RequestId> finished;
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      const Slice& slice = plan.slices[i];
      CachedRequest& known = known_.at(slice.request);
      known.computed += slice.count;
      if (!slice.samples) continue;
      appended[i] = 1;
      known.tokens.push_back(TokenId(Below(2)));
      const bool at_end = static_cast<int32_t>(known.tokens.size()) == known.max_length;
      if (at_end || Below(200) == 0) finished.push_back(slice.request);
    }
    ++steps_without_end_;
    scheduler_.Commit(plan, appended);
    for (RequestId id : finished) End(id);
    CheckPool();
  }

 private:
  static size_t Index(BlockId block) { return static_cast<size_t>(block.value); }

  // Begins like one of a few texts, then goes its own way.
  Tokens RandomPrompt() {
    Tokens tokens;
    const int32_t most = pool_.capacity() * kBlockTokens - 1;
    const int32_t common = Below(5) == 0 ? 0 : Below(std::min(most, 200));
    CounterRng text(static_cast<uint64_t>(Below(3)), 0);
    for (int32_t i = 0; i < common; ++i) {
      tokens.push_back(TokenId(static_cast<int32_t>(text.NextU64() % 3)));
    }
    for (int32_t i = Below(std::min(most - common, 30)) + 1; i > 0; --i) {
      tokens.push_back(TokenId(Below(3)));
    }
    return tokens;
  }

  uint64_t HashAt(const CachedRequest& known, int32_t position) const {
    uint64_t hash = static_cast<uint64_t>(known.space[0]);
    for (int32_t p = 0; p <= position; ++p) {
      hash = Mix64(hash ^ static_cast<uint64_t>(known.tokens[static_cast<size_t>(p)].value));
    }
    return hash;
  }

  void Write(const Slice& slice) {
    const CachedRequest& known = known_.at(slice.request);
    const auto table = scheduler_.BlockTable(slice.request);
    for (int32_t p = slice.first; p < slice.first + slice.count; ++p) {
      memory_[Index(table[static_cast<size_t>(p / kBlockTokens)])]
             [static_cast<size_t>(p % kBlockTokens)] = HashAt(known, p);
    }
  }

  // What the slice's attention reads.
  void CheckContent(const Slice& slice) const {
    const CachedRequest& known = known_.at(slice.request);
    const auto table = scheduler_.BlockTable(slice.request);
    uint64_t hash = static_cast<uint64_t>(known.space[0]);
    for (int32_t p = 0; p < slice.first + slice.count; ++p) {
      hash = Mix64(hash ^ static_cast<uint64_t>(known.tokens[static_cast<size_t>(p)].value));
      ASSERT_EQ(memory_[Index(table[static_cast<size_t>(p / kBlockTokens)])]
                       [static_cast<size_t>(p % kBlockTokens)],
                hash)
          << "position " << p << " of " << slice.first << " + " << slice.count;
    }
  }

  void End(RequestId id) {
    const bool forget = Below(6) == 0;
    ASSERT_TRUE(scheduler_.Remove(
        id, forget ? Scheduler::Afterwards::kForget : Scheduler::Afterwards::kRemember));
    known_.erase(id);
    ++totals_.ended;
    steps_without_end_ = 0;
    CheckPool();
  }

  void CheckPlan(const StepPlan& plan) {
    ASSERT_EQ(plan.slices.empty(), known_.empty());
    for (RequestId id : plan.preempted) {
      known_.at(id).computed = 0;
      known_.at(id).preempted = true;
      std::erase(order_, id);
      ++totals_.preemptions;
    }
    for (const Admission& admission : plan.admitted) CheckAdmission(admission);
    totals_.copies += static_cast<int64_t>(plan.copies.size());
    int32_t rows = 0;
    std::set<RequestId> planned;
    std::map<BlockId, int32_t> holders;
    for (RequestId id : order_) {
      for (BlockId block : scheduler_.BlockTable(id)) ++holders[block];
    }
    for (const Slice& slice : plan.slices) {
      ASSERT_TRUE(planned.insert(slice.request).second);
      const CachedRequest& known = known_.at(slice.request);
      ASSERT_EQ(slice.first, known.computed);
      ASSERT_GE(slice.count, 1);
      ASSERT_LE(slice.count, config_.max_chunk);
      const int32_t end = slice.first + slice.count;
      ASSERT_LE(end, static_cast<int32_t>(known.tokens.size()));
      ASSERT_EQ(slice.samples, end == static_cast<int32_t>(known.tokens.size()));
      const auto table = scheduler_.BlockTable(slice.request);
      ASSERT_GE(static_cast<int32_t>(table.size()) * kBlockTokens, end);
      for (int32_t p = slice.first; p < end; ++p) {
        ASSERT_EQ(holders.at(table[static_cast<size_t>(p / kBlockTokens)]), 1)
            << "writes into a block that another sequence reads";
      }
      rows += slice.count;
    }
    ASSERT_LE(rows, config_.max_step_tokens);
    ASSERT_LE(scheduler_.running(), config_.max_running);
    ASSERT_EQ(scheduler_.running(), static_cast<int32_t>(order_.size()));
    // The one admitted first makes progress.
    if (!order_.empty()) {
      ASSERT_TRUE(planned.contains(order_.front()));
    }
    CheckPool();
  }

  void CheckAdmission(const Admission& admission) {
    CachedRequest& newcomer = known_.at(admission.request);
    ASSERT_LT(admission.cached, static_cast<int32_t>(newcomer.tokens.size()));
    if (!newcomer.takes_part && !newcomer.preempted) {
      ASSERT_EQ(admission.cached, 0);
    }
    for (auto& [id, known] : known_) {
      const bool waits = std::find(order_.begin(), order_.end(), id) == order_.end();
      if (id == admission.request || !waits) continue;
      if (known.preempted && !newcomer.preempted) FAIL() << "a preempted one was overtaken";
      const bool equals = known.terms.client == newcomer.terms.client &&
                          known.terms.priority == newcomer.terms.priority;
      if (!known.admitted && equals && id < admission.request && !newcomer.preempted) {
        ASSERT_LE(++known.overtaken, config_.max_overtakes);
        totals_.most_overtaken = std::max(totals_.most_overtaken, int64_t{known.overtaken});
      }
    }
    newcomer.admitted = true;
    newcomer.preempted = false;
    newcomer.computed = admission.cached;
    totals_.cached += admission.cached;
    order_.push_back(admission.request);
  }

  void CheckPool() {
    std::erase_if(order_, [&](RequestId id) { return !known_.contains(id); });
    std::set<BlockId> held;
    for (const auto& [id, known] : known_) {
      for (BlockId block : scheduler_.BlockTable(id)) held.insert(block);
    }
    ASSERT_LE(static_cast<int32_t>(held.size()), pool_.held());
    ASSERT_LE(pool_.held() - static_cast<int32_t>(held.size()), tree_.stats().nodes);
    ASSERT_EQ(pool_.available() + pool_.held(), pool_.capacity());
    ASSERT_EQ(swap_.available() + swap_.held(), swap_.capacity());
    ASSERT_TRUE(tree_.IsConsistent());
  }

  CounterRng rng_;
  PrefixTotals& totals_;
  BlockPool pool_;
  PrefixTree tree_;
  SchedulerConfig config_;
  std::map<RequestId, CachedRequest> known_;
  BlockPool swap_;
  const bool swaps_;
  Scheduler scheduler_;
  std::vector<std::vector<uint64_t>> memory_, swap_memory_;  // [block][slot]
  std::vector<RequestId> order_;  // the running ones, in order of admission
  int64_t next_id_ = 0;
  int32_t steps_without_end_ = 0;
};

TEST(SchedulerPrefixPropertyTest, AHundredThousandRandomOperations) {
  PrefixTotals totals;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    PrefixWorld world(seed, totals);
    for (int32_t operation = 0; operation < 500; ++operation) {
      const int32_t choice = world.Below(20);
      if (choice < 3 && world.live() < 20) {
        world.Add();
      } else if (choice == 3 && world.live() > 0 && world.Below(6) == 0) {
        world.CancelOne();
      } else if (choice == 4 && world.Below(4) == 0) {
        world.PinOne();
      } else {
        world.Step();
      }
      if (HasFatalFailure()) FAIL() << "world " << seed << ", step " << operation;
    }
    const int32_t bound = world.capacity() * kBlockTokens;
    while (world.live() > 0) {
      world.Step();
      ASSERT_LE(world.steps_without_end(), bound) << "world " << seed;
      if (HasFatalFailure()) FAIL() << "world " << seed << ", at the end";
    }
  }
  // The test is worth something only if it went where it hurts.
  EXPECT_GT(totals.preemptions, 300);
  EXPECT_GT(totals.ended, 3000);
  EXPECT_GT(totals.cached, 100'000);
  EXPECT_GT(totals.copies, 1000);
  EXPECT_GT(totals.evicted, 3000);
  EXPECT_GT(totals.swapped_in, 50);
  EXPECT_EQ(totals.most_overtaken, 4);
}

}  // namespace
}  // namespace millrace
