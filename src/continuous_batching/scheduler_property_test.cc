// Random operations on small pools, checked against what a user of the scheduler can know.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
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
};

class World {
 public:
  World(uint64_t seed, int32_t blocks)
      : rng_(seed, 0),
        pool_(blocks),
        config_({.max_running = Below(8) + 1,
                 .max_step_tokens = Below(100) + 1,
                 .max_chunk = Below(70) + 1,
                 .batching = Below(6) == 0 ? Batching::kStatic : Batching::kContinuous}),
        scheduler_(config_, pool_) {}

  int32_t Below(int32_t bound) {
    return static_cast<int32_t>(rng_.NextU64() % static_cast<uint64_t>(bound));
  }
  size_t live() const { return known_.size(); }
  int64_t ended() const { return ended_; }
  int64_t added() const { return next_id_; }
  int64_t preemptions() const { return preemptions_; }
  int32_t steps_without_end() const { return steps_without_end_; }

  void Add() {
    const int32_t max_length = Below(pool_.capacity() * kBlockTokens - 1) + 2;
    // Short prompts with long outputs are what outgrows the pool.
    const int32_t prompt = Below(Below(3) == 0 ? max_length - 1 : std::min(max_length - 1, 30)) + 1;
    const RequestId id(next_id_++);
    scheduler_.Add(id, prompt, max_length);
    known_[id] = {prompt, max_length, 0};
    CheckPool();
  }

  void CancelOne() {
    auto at = known_.begin();
    std::advance(at, Below(static_cast<int32_t>(known_.size())));
    End(at->first);
  }

  void Step() {
    const StepPlan plan = scheduler_.PlanStep();
    CheckPlan(plan);
    std::vector<int32_t> appended(plan.slices.size(), 0);
    std::vector<RequestId> finished;
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      const Slice& slice = plan.slices[i];
      Known& known = known_.at(slice.request);
      known.computed += slice.count;
      if (!slice.samples) continue;
      appended[i] = 1;
      if (++known.length == known.max_length || Below(300) == 0) finished.push_back(slice.request);
    }
    ++steps_without_end_;
    const bool remove_first = Below(2) == 0;  // both orders are allowed
    if (!remove_first) scheduler_.Commit(plan, appended);
    for (RequestId id : finished) End(id);
    if (remove_first) scheduler_.Commit(plan, appended);
    CheckPool();
  }

 private:
  void End(RequestId id) {
    ASSERT_TRUE(scheduler_.Remove(id)) << "a request vanished";
    ASSERT_FALSE(scheduler_.Remove(id)) << "a request ended twice";
    known_.erase(id);
    ++ended_;
    steps_without_end_ = 0;
    CheckPool();
  }

  void CheckPlan(const StepPlan& plan) {
    ASSERT_EQ(plan.slices.empty(), known_.empty());
    for (RequestId id : plan.preempted) {
      known_.at(id).computed = 0;
      ++preemptions_;
    }
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
      if (known.length - known.computed > 1 || known.computed == 0) {
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
    CheckOldest(planned);
    CheckPool();
  }

  // Ids ascend, so the oldest request is the first known: it is in every plan.
  void CheckOldest(const std::set<RequestId>& planned) {
    if (known_.empty()) return;
    ASSERT_TRUE(planned.contains(known_.begin()->first)) << "starved";
  }

  void CheckPool() {
    int32_t held = 0;
    for (const auto& [id, known] : known_) {
      held += static_cast<int32_t>(scheduler_.BlockTable(id).size());
    }
    ASSERT_EQ(pool_.held(), held);
    ASSERT_EQ(pool_.available() + pool_.held(), pool_.capacity());
    ASSERT_EQ(scheduler_.running() + scheduler_.waiting(), static_cast<int32_t>(known_.size()));
  }

  CounterRng rng_;
  BlockPool pool_;
  SchedulerConfig config_;
  Scheduler scheduler_;
  std::map<RequestId, Known> known_;
  int64_t next_id_ = 0;
  int64_t ended_ = 0;
  int64_t preemptions_ = 0;
  int32_t steps_without_end_ = 0;
};

TEST(SchedulerPropertyTest, HundredThousandRandomOperations) {
  constexpr int32_t kWorlds = 100;
  constexpr int32_t kOperations = 1000;
  int64_t preemptions = 0;
  int64_t ended = 0;
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
    // The oldest is computed in every step (CheckOldest), at least one row: so it ends within as
    // many steps as it has tokens, and then the next is the oldest.
    const int32_t bound = blocks * kBlockTokens;
    while (world.live() > 0) {
      world.Step();
      ASSERT_LE(world.steps_without_end(), bound) << "world " << i;
      if (::testing::Test::HasFatalFailure()) FAIL() << "world " << i << ", at the end";
    }
    EXPECT_EQ(world.ended(), world.added());
    preemptions += world.preemptions();
    ended += world.ended();
  }
  // The test is worth something only if it went where it hurts.
  EXPECT_GT(preemptions, 500);
  EXPECT_GT(ended, 2000);
}

}  // namespace
}  // namespace millrace
