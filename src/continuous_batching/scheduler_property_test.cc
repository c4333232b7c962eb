// Random operations on small pools, checked against what a user of the scheduler can know.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

// What the test knows of one request, by the scheduler's documented rules alone.
struct Known {
  int32_t length = 0;
  int32_t max_length = 0;
  int32_t computed = 0;
  std::optional<TimePoint> deadline = std::nullopt;
};

class World {
 public:
  World(uint64_t seed, int32_t blocks)
      : rng_(seed, 0),
        pool_(blocks),
        config_({.max_running = Below(8) + 1,
                 .max_step_tokens = Below(100) + 1,
                 .max_chunk = Below(70) + 1,
                 .max_draft = Below(2) * Below(17),
                 .batching = Below(6) == 0 ? Batching::kStatic : Batching::kContinuous}),
        swap_(Below(blocks) + 1),
        swaps_(Below(3) > 0),
        scheduler_(config_, pool_, nullptr, swaps_ ? &swap_ : nullptr),
        memory_(static_cast<size_t>(blocks), kNothing),
        swap_memory_(static_cast<size_t>(swap_.capacity()), kNothing) {}

  int32_t Below(int32_t bound) {
    return static_cast<int32_t>(rng_.NextU64() % static_cast<uint64_t>(bound));
  }
  size_t live() const { return known_.size(); }
  int64_t ended() const { return ended_; }
  int64_t added() const { return next_id_; }
  int64_t preemptions() const { return preemptions_; }
  int64_t swapped_in() const { return swapped_in_; }
  int64_t expired() const { return expired_; }
  int32_t steps_without_end() const { return steps_without_end_; }

  void Add() {
    const int32_t max_length = Below(pool_.capacity() * kBlockTokens - 1) + 2;
    // Short prompts with long outputs are what outgrows the pool.
    const int32_t prompt = Below(Below(3) == 0 ? max_length - 1 : std::min(max_length - 1, 30)) + 1;
    const RequestId id(next_id_++);
    Terms terms{.client = std::string(1, static_cast<char>('a' + Below(3))), .priority = Below(3)};
    if (Below(6) == 0) terms.deadline = now_ + Duration(Below(2000));
    scheduler_.Add(id, prompt, max_length, std::nullopt, terms);
    known_[id] = {prompt, max_length, 0, terms.deadline};
    CheckPool();
  }

  void CancelOne() {
    auto at = known_.begin();
    std::advance(at, Below(static_cast<int32_t>(known_.size())));
    End(at->first);
  }

  void Step() {
    EndOverdue();
    StepPlan plan = scheduler_.PlanStep();
    CheckPlan(plan);
    CopyAndWrite(plan);
    Draft(plan);
    if (::testing::Test::HasFatalFailure()) return;
    std::vector<int32_t> appended(plan.slices.size(), 0);
    std::vector<RequestId> finished;
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      const Slice& slice = plan.slices[i];
      Known& known = known_.at(slice.request);
      known.computed += slice.count;
      if (!slice.samples) continue;
      const int32_t accepted = Below(slice.drafted + 1);
      appended[i] = 1 + accepted;
      known.computed += accepted;
      known.length += appended[i];
      if (known.length == known.max_length || Below(300) == 0) finished.push_back(slice.request);
    }
    now_ += Duration(Below(50));
    if (Below(4) == 0) scheduler_.Observe(plan, Duration(Below(50)));
    ++steps_without_end_;
    const bool remove_first = Below(2) == 0;  // both orders are allowed
    if (!remove_first) scheduler_.Commit(plan, appended);
    swapped_this_step_ = remove_first;
    for (RequestId id : finished) End(id);
    if (remove_first) scheduler_.Commit(plan, appended);
    swapped_this_step_ = false;
    CheckPool();
  }

  int64_t drafted() const { return drafted_; }

 private:
  static constexpr std::pair<int64_t, int32_t> kNothing = {-1, 0};

  // None stays whose deadline has come; none goes who has none.
  void EndOverdue() {
    for (const RequestId id : scheduler_.Overdue(now_)) {
      ASSERT_TRUE(known_.at(id).deadline.has_value());
      End(id);
      ++expired_;
    }
    for (const auto& [id, known] : known_) {
      ASSERT_TRUE(!known.deadline || *known.deadline > now_);
    }
  }

  // Every block holds whose it is and which of his: a copy that is wrong, too early or too late
  // leaves somebody with another's.
  void CopyAndWrite(const StepPlan& plan) {
    for (const BlockCopy& copy : plan.swapped_out) {
      swap_memory_.at(static_cast<size_t>(copy.to.value)) =
          memory_.at(static_cast<size_t>(copy.from.value));
    }
    for (const BlockCopy& copy : plan.swapped_in) {
      memory_.at(static_cast<size_t>(copy.to.value)) =
          swap_memory_.at(static_cast<size_t>(copy.from.value));
      ++swapped_in_;
    }
    for (const Slice& slice : plan.slices) {
      const auto table = scheduler_.BlockTable(slice.request);
      for (int32_t i = 0; i < BlocksFor(slice.first + slice.count); ++i) {
        auto& block = memory_.at(static_cast<size_t>(table[static_cast<size_t>(i)].value));
        const std::pair<int64_t, int32_t> own = {slice.request.value, i};
        if (i >= slice.first / kBlockTokens && slice.first <= i * kBlockTokens) block = own;
        ASSERT_EQ(block, own);
      }
    }
  }

  void Draft(StepPlan& plan) {
    int32_t rows = 0;
    for (Slice& slice : plan.slices) {
      rows += slice.count + slice.draft_room;
      if (slice.draft_room == 0) continue;
      const Known& known = known_.at(slice.request);
      ASSERT_TRUE(slice.samples && slice.count == 1);
      ASSERT_LT(known.length + slice.draft_room, known.max_length);
      const int32_t wanted = Below(slice.draft_room + 1);
      const int32_t got = scheduler_.ReserveDraft(slice, wanted);
      ASSERT_LE(got, wanted);
      ASSERT_GE(static_cast<int32_t>(scheduler_.BlockTable(slice.request).size()) * kBlockTokens,
                known.length + got);
      if (got > 0) slice.drafted = got - Below(2);  // the drafter may have less
      drafted_ += slice.drafted;
      // Blocks that the draft is the first to write to.
      const auto table = scheduler_.BlockTable(slice.request);
      for (int32_t i = BlocksFor(known.length); i < BlocksFor(known.length + slice.drafted); ++i) {
        memory_.at(static_cast<size_t>(table[static_cast<size_t>(i)].value)) = {slice.request.value,
                                                                                i};
      }
    }
    ASSERT_LE(rows, config_.max_step_tokens);
    CheckPool();
  }

  void End(RequestId id) {
    ASSERT_TRUE(scheduler_.Remove(id)) << "a request vanished";
    ASSERT_FALSE(scheduler_.Remove(id)) << "a request ended twice";
    known_.erase(id);
    std::erase(order_, id);
    ++ended_;
    steps_without_end_ = 0;
    CheckPool();
  }

  void CheckPlan(const StepPlan& plan) {
    ASSERT_EQ(plan.slices.empty(), known_.empty());
    swapped_this_step_ = true;
    for (RequestId id : plan.preempted) {
      known_.at(id).computed = 0;
      std::erase(order_, id);
      ++preemptions_;
    }
    for (const Admission& admission : plan.admitted) {
      Known& known = known_.at(admission.request);
      ASSERT_EQ(known.computed, 0);
      ASSERT_LT(admission.cached, known.length);
      if (!swaps_) {
        ASSERT_EQ(admission.cached, 0);
      }
      known.computed = admission.cached;
      order_.push_back(admission.request);
    }
    const size_t begun_before = order_.size() - plan.admitted.size();
    int32_t rows = 0;
    bool prefill_seen = false;
    std::set<RequestId> planned;
    std::set<BlockId> used;
    for (const Slice& slice : plan.slices) {
      ASSERT_TRUE(known_.contains(slice.request)) << "an ended request was planned";
      ASSERT_TRUE(planned.insert(slice.request).second);
      const Known& known = known_.at(slice.request);
      ASSERT_EQ(slice.first, known.computed);
      ASSERT_GE(slice.count, 1);
      ASSERT_LE(slice.count, config_.max_chunk);
      ASSERT_LE(slice.first + slice.count, known.length);
      ASSERT_EQ(slice.samples, slice.first + slice.count == known.length);
      const auto place = std::find(order_.begin(), order_.end(), slice.request);
      const bool begins = place >= order_.begin() + static_cast<std::ptrdiff_t>(begun_before);
      if (known.length - known.computed > 1 || begins) {
        prefill_seen = true;
      } else {
        ASSERT_FALSE(prefill_seen) << "decode rows come first";
      }
      const auto table = scheduler_.BlockTable(slice.request);
      ASSERT_GE(static_cast<int32_t>(table.size()) * kBlockTokens, slice.first + slice.count);
      for (BlockId block : table) ASSERT_TRUE(used.insert(block).second) << "a shared block";
      rows += slice.count;
    }
    for (RequestId id : plan.preempted) {
      ASSERT_FALSE(planned.contains(id));
      ASSERT_TRUE(scheduler_.BlockTable(id).empty());
    }
    ASSERT_LE(rows, config_.max_step_tokens);
    ASSERT_LE(scheduler_.running(), config_.max_running);
    CheckFirst(planned);
    CheckPool();
  }

  void CheckFirst(const std::set<RequestId>& planned) {
    if (order_.empty()) return;
    ASSERT_TRUE(planned.contains(order_.front())) << "who was admitted first makes no progress";
  }

  void CheckPool() {
    int32_t held = 0;
    for (const auto& [id, known] : known_) {
      held += static_cast<int32_t>(scheduler_.BlockTable(id).size());
    }
    ASSERT_EQ(pool_.held(), held);
    ASSERT_EQ(pool_.available() + pool_.held(), pool_.capacity());
    ASSERT_EQ(swap_.available() + swap_.held(), swap_.capacity());
    if (scheduler_.running() == static_cast<int32_t>(known_.size()) && !swapped_this_step_) {
      ASSERT_EQ(swap_.held(), 0) << "copies that nobody waits for";
    }
    ASSERT_EQ(scheduler_.running() + scheduler_.waiting(), static_cast<int32_t>(known_.size()));
  }

  CounterRng rng_;
  BlockPool pool_;
  SchedulerConfig config_;
  BlockPool swap_;
  const bool swaps_;
  Scheduler scheduler_;
  std::vector<std::pair<int64_t, int32_t>> memory_, swap_memory_;  // whose block, which of his
  std::vector<RequestId> order_;                                   // running, by admission
  TimePoint now_{};
  std::map<RequestId, Known> known_;
  int64_t next_id_ = 0;
  int64_t ended_ = 0;
  int64_t preemptions_ = 0;
  int64_t swapped_in_ = 0;
  int64_t expired_ = 0;
  bool swapped_this_step_ = false;  // between PlanStep and Commit
  int64_t drafted_ = 0;
  int32_t steps_without_end_ = 0;
};

TEST(SchedulerPropertyTest, HundredThousandRandomOperations) {
  constexpr int32_t kWorlds = 100;
  constexpr int32_t kOperations = 1000;
  int64_t preemptions = 0;
  int64_t ended = 0;
  int64_t swapped_in = 0;
  int64_t expired = 0;
  int64_t drafted = 0;
  for (int32_t i = 0; i < kWorlds; ++i) {
    const int32_t blocks = 4 + i * 60 / (kWorlds - 1);  // 4 to 64
    World world(static_cast<uint64_t>(i), blocks);
    for (int32_t operation = 0; operation < kOperations; ++operation) {
      const int32_t choice = world.Below(20);
      if (choice < 3 && world.live() < 30) {
        world.Add();
      } else if (choice == 3 && world.live() > 0 && world.Below(8) == 0) {
        world.CancelOne();
      } else {
        world.Step();
      }
      if (::testing::Test::HasFatalFailure()) FAIL() << "world " << i << ", step " << operation;
    }
    // Who was admitted first is computed in every step (CheckFirst), at least one row: so it ends
    // within as many steps as it has tokens, and then the next is the first.
    const int32_t bound = blocks * kBlockTokens;
    while (world.live() > 0) {
      world.Step();
      ASSERT_LE(world.steps_without_end(), bound) << "world " << i;
      if (::testing::Test::HasFatalFailure()) FAIL() << "world " << i << ", at the end";
    }
    EXPECT_EQ(world.ended(), world.added());
    preemptions += world.preemptions();
    ended += world.ended();
    swapped_in += world.swapped_in();
    expired += world.expired();
    drafted += world.drafted();
  }
  // The test is worth something only if it went where it hurts.
  EXPECT_GT(preemptions, 500);
  EXPECT_GT(ended, 2000);
  EXPECT_GT(swapped_in, 300);
  EXPECT_GT(expired, 300);
  EXPECT_GT(drafted, 10'000);
}

}  // namespace
}  // namespace millrace
