// Swapping and deadlines, one rule at a time.
#include <gtest/gtest.h>

#include <vector>

#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

// Two sequences that outgrow a pool of four blocks, so that the later one is preempted.
class SwapTest : public ::testing::Test {
 protected:
  void Begin(int32_t swap_blocks) {
    swap_.emplace(swap_blocks);
    scheduler_.emplace(SchedulerConfig{.max_step_tokens = 200}, pool_, nullptr, &*swap_);
  }
  void AddTwo() {
    scheduler_->Add(RequestId(1), 30, 120);
    scheduler_->Add(RequestId(2), 30, 120);
  }
  StepPlan Step() {
    StepPlan plan = scheduler_->PlanStep();
    std::vector<int32_t> appended;
    for (const Slice& slice : plan.slices) appended.push_back(slice.samples ? 1 : 0);
    scheduler_->Commit(plan, appended);
    return plan;
  }
  StepPlan StepUntilPreempted() {
    for (int i = 0; i < 100; ++i) {
      StepPlan plan = Step();
      if (!plan.preempted.empty()) return plan;
    }
    ADD_FAILURE() << "nobody was preempted";
    return {};
  }

  BlockPool pool_{4};
  std::optional<BlockPool> swap_;
  std::optional<Scheduler> scheduler_;
};

TEST_F(SwapTest, APreemptedSequenceComesBackWithWhatItHad) {
  Begin(8);
  AddTwo();
  const std::vector<BlockId> before = [&] {
    std::vector<BlockId> table;
    for (;;) {
      const auto now = scheduler_->BlockTable(RequestId(2));
      table.assign(now.begin(), now.end());
      const StepPlan plan = Step();
      if (plan.preempted.empty()) continue;
      EXPECT_EQ(plan.swapped_out.size(), 2u);
      for (size_t i = 0; i < plan.swapped_out.size(); ++i) {
        EXPECT_EQ(plan.swapped_out[i].from, table[i]);
      }
      return table;
    }
  }();
  EXPECT_EQ(before.size(), 2u);
  EXPECT_EQ(swap_->held(), 2);
  scheduler_->Remove(RequestId(1));
  const StepPlan plan = scheduler_->PlanStep();
  ASSERT_EQ(plan.admitted.size(), 1u);
  EXPECT_EQ(plan.swapped_in.size(), 2u);
  ASSERT_EQ(plan.slices.size(), 1u);
  EXPECT_EQ(plan.slices[0].count, 1);  // nothing is computed again
  EXPECT_EQ(plan.admitted[0].cached, plan.slices[0].first);
  EXPECT_EQ(swap_->held(), 2);  // until the copies were made
  scheduler_->Commit(plan, std::vector<int32_t>{1});
  EXPECT_EQ(swap_->held(), 0);
}

TEST_F(SwapTest, WithoutRoomForAllTheFirstBlocksAreKept) {
  Begin(1);
  AddTwo();
  EXPECT_EQ(StepUntilPreempted().swapped_out.size(), 1u);
  scheduler_->Remove(RequestId(1));
  const StepPlan plan = Step();
  EXPECT_EQ(plan.swapped_in.size(), 1u);
  ASSERT_EQ(plan.slices.size(), 1u);
  EXPECT_EQ(plan.slices[0].first, kBlockTokens);
}

TEST_F(SwapTest, WhereComputingIsQuickerNothingIsKept) {
  Begin(8);
  AddTwo();
  const StepPlan first = Step();
  scheduler_->Observe(first, milliseconds(60));  // 1 ms a row
  scheduler_->ObserveSwap(1, milliseconds(17));  // out and in: more than 32 rows
  EXPECT_TRUE(StepUntilPreempted().swapped_out.empty());
  EXPECT_EQ(swap_->held(), 0);
}

TEST_F(SwapTest, WhereCopyingIsQuickerItIsUsed) {
  Begin(8);
  AddTwo();
  const StepPlan first = Step();
  scheduler_->Observe(first, milliseconds(60));
  scheduler_->ObserveSwap(1, milliseconds(15));
  EXPECT_EQ(StepUntilPreempted().swapped_out.size(), 2u);
}

TEST_F(SwapTest, WhoIsCancelledWhileSwappedGivesItBack) {
  Begin(8);
  AddTwo();
  StepUntilPreempted();
  scheduler_->Remove(RequestId(2));
  EXPECT_EQ(swap_->held(), 0);
}

class DeadlineTest : public ::testing::Test {
 protected:
  void Add(int64_t id, int32_t prompt, std::optional<milliseconds> deadline) {
    Terms terms;
    if (deadline) terms.deadline = start_ + *deadline;
    scheduler_.Add(RequestId(id), prompt, prompt + 10, std::nullopt, terms);
  }
  StepPlan Step() {
    StepPlan plan = scheduler_.PlanStep();
    std::vector<int32_t> appended;
    for (const Slice& slice : plan.slices) appended.push_back(slice.samples ? 1 : 0);
    scheduler_.Commit(plan, appended);
    return plan;
  }

  const TimePoint start_{milliseconds(1000)};
  BlockPool pool_{100};
  Scheduler scheduler_{{.max_running = 1}, pool_};
};

TEST_F(DeadlineTest, WhoseTimeHasComeIsOverdueWaitingOrRunning) {
  Add(1, 10, milliseconds(50));
  Add(2, 10, milliseconds(40));
  Add(3, 10, std::nullopt);
  Step();
  EXPECT_TRUE(scheduler_.Overdue(start_ + milliseconds(39)).empty());
  EXPECT_EQ(scheduler_.Overdue(start_ + milliseconds(40)), std::vector{RequestId(2)});
  EXPECT_EQ(scheduler_.Overdue(start_ + milliseconds(60)),
            (std::vector{RequestId(2), RequestId(1)}));
  scheduler_.Remove(RequestId(2));
  EXPECT_EQ(scheduler_.Overdue(start_ + milliseconds(60)), std::vector{RequestId(1)});
}

TEST_F(DeadlineTest, AWaitingOneThatCannotMakeItIsOverdueBefore) {
  Add(1, 100, std::nullopt);
  const StepPlan plan = Step();
  scheduler_.Observe(plan, milliseconds(100));  // 1 ms a row
  Add(2, 50, milliseconds(60));
  EXPECT_TRUE(scheduler_.Overdue(start_ + milliseconds(5)).empty());
  EXPECT_EQ(scheduler_.Overdue(start_ + milliseconds(15)), std::vector{RequestId(2)});
}

TEST_F(DeadlineTest, WhereNothingRunsItIsTried) {
  Add(1, 100, std::nullopt);
  const StepPlan plan = Step();
  scheduler_.Observe(plan, milliseconds(100));
  scheduler_.Remove(RequestId(1));
  Add(2, 50, milliseconds(10));
  EXPECT_TRUE(scheduler_.Overdue(start_).empty());
}

}  // namespace
}  // namespace millrace
