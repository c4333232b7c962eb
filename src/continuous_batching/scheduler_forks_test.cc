// Forks and contiguous regions, case by case.
#include <gtest/gtest.h>

#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

// One token for each slice that samples.
StepPlan StepOnce(Scheduler& scheduler) {
  StepPlan plan = scheduler.PlanStep();
  std::vector<int32_t> appended;
  for (const Slice& slice : plan.slices) appended.push_back(slice.samples ? 1 : 0);
  scheduler.Commit(plan, appended);
  return plan;
}

std::vector<int32_t> Table(const Scheduler& scheduler, int64_t id) {
  std::vector<int32_t> ids;
  for (const BlockId block : scheduler.BlockTable(RequestId(id))) ids.push_back(block.value);
  return ids;
}

TEST(SchedulerForksTest, WholeBlocksAreSharedAndTheLastOneIsCopied) {
  BlockPool pool(8);
  Scheduler scheduler({.max_running = 4}, pool);
  scheduler.Add(RequestId(1), 70, 90);
  StepOnce(scheduler);
  scheduler.Fork(RequestId(1), RequestId(2), 71, 90);
  scheduler.Fork(RequestId(1), RequestId(3), 71, 90);
  EXPECT_EQ(pool.held(), 3);
  const StepPlan plan = StepOnce(scheduler);
  EXPECT_EQ(plan.admitted, (std::vector<Admission>{{RequestId(2), 70}, {RequestId(3), 70}}));
  EXPECT_EQ(plan.copies,
            (std::vector<BlockCopy>{{BlockId(2), BlockId(3)}, {BlockId(2), BlockId(4)}}));
  ASSERT_EQ(plan.slices.size(), 3u);
  for (const Slice& slice : plan.slices) {
    EXPECT_EQ(slice.first, 70);
    EXPECT_EQ(slice.count, 1);
  }
  EXPECT_EQ(Table(scheduler, 2), (std::vector{0, 1, 3}));
  EXPECT_EQ(Table(scheduler, 3), (std::vector{0, 1, 4}));
  EXPECT_EQ(pool.held(), 5);
  scheduler.Remove(RequestId(1));
  EXPECT_EQ(pool.held(), 4);
}

TEST(SchedulerForksTest, AForkWithoutAPlaceKeepsWhatItShares) {
  BlockPool pool(8);
  Scheduler scheduler({.max_running = 1}, pool);
  scheduler.Add(RequestId(1), 64, 90);
  scheduler.Add(RequestId(9), 10, 20);
  StepOnce(scheduler);
  scheduler.Fork(RequestId(1), RequestId(2), 65, 90);
  StepOnce(scheduler);
  EXPECT_EQ(scheduler.running(), 1);
  scheduler.Remove(RequestId(1));
  EXPECT_EQ(pool.held(), 2);
  const StepPlan plan = StepOnce(scheduler);  // before the one that came first
  EXPECT_EQ(plan.admitted, (std::vector<Admission>{{RequestId(2), 64}}));
  EXPECT_TRUE(plan.copies.empty());  // nothing is filled in part
}

TEST(SchedulerForksTest, UnderPressureAWaitingForkGivesBackBeforeAnybodyIsPreempted) {
  BlockPool pool(4);
  Scheduler scheduler({.max_running = 2}, pool);
  scheduler.Add(RequestId(1), 32, 40);
  scheduler.Add(RequestId(2), 30, 128);
  StepOnce(scheduler);
  scheduler.Fork(RequestId(1), RequestId(3), 33, 128);
  scheduler.Remove(RequestId(1));
  StepOnce(scheduler);
  ASSERT_EQ(scheduler.running(), 1) << "the fork would need two blocks more, and there is one";
  EXPECT_EQ(pool.held(), 2);
  // The second grows to four blocks.
  bool gave_way = false;
  for (int i = 0; i < 90; ++i) {
    for (const RequestId id : StepOnce(scheduler).preempted) {
      EXPECT_EQ(id, RequestId(3));
      gave_way = true;
    }
  }
  EXPECT_TRUE(gave_way);
}

TEST(SchedulerForksTest, OfAStaticBatchJoinIt) {
  BlockPool pool(16);
  Scheduler scheduler({.max_running = 4, .batching = Batching::kStatic}, pool);
  scheduler.Add(RequestId(1), 40, 90);
  StepOnce(scheduler);
  scheduler.Add(RequestId(7), 40, 90);
  scheduler.Fork(RequestId(1), RequestId(2), 41, 90);
  StepOnce(scheduler);
  EXPECT_EQ(Table(scheduler, 2).size(), 2u);
  EXPECT_TRUE(Table(scheduler, 7).empty());
}

constexpr SchedulerConfig kRegions = {.max_running = 8, .layout = KvLayout::kContiguous};

TEST(SchedulerRegionsTest, ARequestTakesAllThatItMayBecomeFirstFit) {
  BlockPool pool(10);
  Scheduler scheduler(kRegions, pool);
  scheduler.Add(RequestId(1), 10, 64);
  scheduler.Add(RequestId(2), 10, 96);
  scheduler.Add(RequestId(3), 10, 33);
  StepOnce(scheduler);
  EXPECT_EQ(Table(scheduler, 1), (std::vector{0, 1}));
  EXPECT_EQ(Table(scheduler, 2), (std::vector{2, 3, 4}));
  EXPECT_EQ(Table(scheduler, 3), (std::vector{5, 6}));
  EXPECT_EQ(scheduler.usage().unused_slots, 7 * 32 - 30);
  scheduler.Add(RequestId(4), 100, 128);  // four blocks; three are free
  EXPECT_TRUE(StepOnce(scheduler).admitted.empty());
  scheduler.Remove(RequestId(2));
  scheduler.Remove(RequestId(4));
  scheduler.Add(RequestId(5), 10, 60);
  StepOnce(scheduler);
  EXPECT_EQ(Table(scheduler, 5), (std::vector{2, 3}));
  EXPECT_EQ(scheduler.usage().compactions, 0);
}

TEST(SchedulerRegionsTest, ThoseThatRunMoveTogetherWhereThatMakesRoom) {
  BlockPool pool(10);
  Scheduler scheduler(kRegions, pool);
  scheduler.Add(RequestId(1), 10, 64);
  scheduler.Add(RequestId(2), 40, 96);
  scheduler.Add(RequestId(3), 40, 96);
  StepOnce(scheduler);
  EXPECT_EQ(Table(scheduler, 3), (std::vector{5, 6, 7}));
  scheduler.Remove(RequestId(1));
  EXPECT_EQ(scheduler.usage().unusable_blocks, 2);
  scheduler.Add(RequestId(4), 10, 128);  // four are free, in two pieces
  const StepPlan plan = StepOnce(scheduler);
  EXPECT_EQ(Table(scheduler, 2), (std::vector{0, 1, 2}));
  EXPECT_EQ(Table(scheduler, 3), (std::vector{3, 4, 5}));
  EXPECT_EQ(Table(scheduler, 4), (std::vector{6, 7, 8, 9}));
  // Two of the three blocks of each hold anything.
  EXPECT_EQ(plan.copies, (std::vector<BlockCopy>{{BlockId(2), BlockId(0)},
                                                 {BlockId(3), BlockId(1)},
                                                 {BlockId(5), BlockId(3)},
                                                 {BlockId(6), BlockId(4)}}));
  EXPECT_EQ(scheduler.usage().compactions, 1);
  EXPECT_EQ(scheduler.usage().moved_blocks, 4);
  EXPECT_EQ(scheduler.usage().unusable_blocks, 0);
}

}  // namespace
}  // namespace millrace
