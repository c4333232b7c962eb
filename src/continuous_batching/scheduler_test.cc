#include "continuous_batching/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "continuous_batching/test_support.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Plans a step and commits it with one token for each slice that samples.
StepPlan RunStep(Scheduler& scheduler) {
  StepPlan plan = scheduler.PlanStep();
  std::vector<int32_t> appended;
  for (const Slice& slice : plan.slices) appended.push_back(slice.samples ? 1 : 0);
  scheduler.Commit(plan, appended);
  return plan;
}

TEST(SchedulerTest, NothingToDoIsAnEmptyPlan) {
  BlockPool pool(4);
  Scheduler scheduler({}, pool);
  EXPECT_THAT(scheduler.PlanStep().slices, IsEmpty());
}

TEST(SchedulerTest, PromptThenDecode) {
  BlockPool pool(8);
  Scheduler scheduler({}, pool);
  scheduler.Add(RequestId(1), 40, 100);
  EXPECT_EQ(scheduler.waiting(), 1);
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(1, 0, 40)));
  EXPECT_EQ(scheduler.running(), 1);
  EXPECT_EQ(scheduler.BlockTable(RequestId(1)).size(), 2u);
  for (int32_t position = 40; position < 64; ++position) {
    EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(1, position, 1)));
  }
  EXPECT_EQ(pool.held(), 2);
  RunStep(scheduler);  // position 64 opens a block
  EXPECT_EQ(pool.held(), 3);
  EXPECT_TRUE(scheduler.Remove(RequestId(1)));
  EXPECT_FALSE(scheduler.Remove(RequestId(1)));
  EXPECT_EQ(pool.held(), 0);
}

TEST(SchedulerTest, APromptIsCutIntoChunks) {
  BlockPool pool(8);
  Scheduler scheduler({.max_chunk = 30}, pool);
  scheduler.Add(RequestId(1), 70, 100);
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(Chunk(1, 0, 30)));
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(Chunk(1, 30, 30)));
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(1, 60, 10)));
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(1, 70, 1)));
}

TEST(SchedulerTest, DecodeRowsFirstThenPrefillThenAdmission) {
  BlockPool pool(64);
  Scheduler scheduler({.max_step_tokens = 64, .max_chunk = 40}, pool);
  scheduler.Add(RequestId(1), 200, 300);
  RunStep(scheduler);
  scheduler.Add(RequestId(2), 24, 300);
  RunStep(scheduler);  // 40 of request 1, all of request 2
  scheduler.Add(RequestId(3), 500, 600);
  EXPECT_THAT(RunStep(scheduler).slices,
              ElementsAre(LastChunk(2, 24, 1), Chunk(1, 80, 40), Chunk(3, 0, 23)));
}

TEST(SchedulerTest, NoMoreRunningThanPlacesOrRows) {
  BlockPool pool(64);
  Scheduler places({.max_running = 3}, pool);
  Scheduler rows({.max_running = 64, .max_step_tokens = 2}, pool);
  for (int64_t id = 0; id < 5; ++id) {
    places.Add(RequestId(id), 1, 50);
    rows.Add(RequestId(id), 1, 50);
  }
  EXPECT_EQ(RunStep(places).slices.size(), 3u);
  EXPECT_EQ(places.waiting(), 2);
  EXPECT_EQ(RunStep(rows).slices.size(), 2u);
  EXPECT_EQ(RunStep(rows).slices.size(), 2u);
  EXPECT_EQ(rows.waiting(), 3);
  EXPECT_TRUE(places.Remove(RequestId(1)));
  EXPECT_THAT(RunStep(places).slices,
              ElementsAre(LastChunk(0, 1, 1), LastChunk(2, 1, 1), LastChunk(3, 0, 1)));
}

TEST(SchedulerTest, AdmissionLooksAhead) {
  BlockPool pool(10);
  Scheduler scheduler({.max_chunk = 32}, pool);
  // Known tokens and kBlockTokens more: 7 blocks, of which the first chunk takes one.
  scheduler.Add(RequestId(1), 6 * kBlockTokens, 9 * kBlockTokens);
  scheduler.Add(RequestId(2), 2 * kBlockTokens + 1, 9 * kBlockTokens);  // 4: too many
  scheduler.Add(RequestId(3), 1, 2);                                    // fits, but is not first
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(Chunk(1, 0, 32)));
  EXPECT_EQ(pool.held(), 1);
  EXPECT_TRUE(scheduler.Remove(RequestId(2)));
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(Chunk(1, 32, 32), LastChunk(3, 0, 1)));
}

TEST(SchedulerTest, AdmissionNeverCountsMoreThanMaxLength) {
  BlockPool pool(4);
  Scheduler scheduler({}, pool);
  scheduler.Add(RequestId(1), 4 * kBlockTokens - 1, 4 * kBlockTokens);
  EXPECT_EQ(RunStep(scheduler).slices.size(), 1u);
}

TEST(SchedulerTest, TheLatestIsPreemptedForTheOldest) {
  BlockPool pool(5);
  Scheduler scheduler({}, pool);
  for (int64_t id = 1; id <= 2; ++id) scheduler.Add(RequestId(id), kBlockTokens, 128);
  RunStep(scheduler);
  for (int32_t i = 0; i < kBlockTokens; ++i) {
    EXPECT_THAT(RunStep(scheduler).preempted, IsEmpty());
  }
  EXPECT_EQ(pool.held(), 4);
  // The first takes the last block. The second has none for its next token: it sits out, with what
  // it has, until the first needs one more.
  int32_t alone = 0;
  StepPlan plan;
  while ((plan = RunStep(scheduler)).preempted.empty()) {
    EXPECT_THAT(plan.slices, ElementsAre(LastChunk(1, 2 * kBlockTokens + alone, 1)));
    ++alone;
  }
  EXPECT_EQ(alone, kBlockTokens);
  EXPECT_THAT(plan.preempted, ElementsAre(RequestId(2)));
  EXPECT_THAT(plan.slices, ElementsAre(LastChunk(1, 3 * kBlockTokens, 1)));
  EXPECT_EQ(pool.held(), 4);
  EXPECT_EQ(scheduler.waiting(), 1);

  EXPECT_TRUE(scheduler.Remove(RequestId(1)));
  // Everything known is computed again, in one chunk, and the next token comes out of it.
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(2, 0, 2 * kBlockTokens + 1)));
}

TEST(SchedulerTest, PreemptedSequencesComeBackInOrderOfArrival) {
  BlockPool pool(6);
  Scheduler scheduler({}, pool);
  for (int64_t id = 1; id <= 4; ++id) scheduler.Add(RequestId(id), 1, 6 * kBlockTokens);
  RunStep(scheduler);
  EXPECT_EQ(scheduler.running(), 3);  // two blocks ahead for each
  std::vector<RequestId> preempted;
  while (scheduler.running() > 1) {
    const StepPlan plan = RunStep(scheduler);
    preempted.insert(preempted.end(), plan.preempted.begin(), plan.preempted.end());
  }
  EXPECT_THAT(preempted, ElementsAre(RequestId(3), RequestId(2)));
  for (int64_t id = 2; id <= 4; ++id) {
    EXPECT_TRUE(scheduler.Remove(RequestId(id - 1)));
    const StepPlan plan = RunStep(scheduler);
    ASSERT_GE(plan.slices.size(), 1u);
    EXPECT_EQ(plan.slices[0].request, RequestId(id));
  }
}

TEST(SchedulerTest, CommitIgnoresRemovedSequences) {
  BlockPool pool(8);
  Scheduler scheduler({}, pool);
  scheduler.Add(RequestId(1), 3, 50);
  scheduler.Add(RequestId(2), 3, 50);
  const StepPlan plan = scheduler.PlanStep();
  EXPECT_TRUE(scheduler.Remove(RequestId(1)));
  const std::vector<int32_t> appended = {1, 1};
  scheduler.Commit(plan, appended);
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(2, 3, 1)));
}

TEST(SchedulerTest, SeveralTokensMayBeAppended) {
  BlockPool pool(8);
  Scheduler scheduler({.max_draft = 6}, pool);
  scheduler.Add(RequestId(1), 30, 50);
  RunStep(scheduler);
  StepPlan plan = scheduler.PlanStep();
  ASSERT_EQ(plan.slices[0].draft_room, 6);
  EXPECT_EQ(scheduler.ReserveDraft(plan.slices[0], 5), 5);
  EXPECT_EQ(pool.held(), 2);  // position 32 and on
  scheduler.Commit(plan, std::vector<int32_t>{4});
  // Three of the drafted tokens are computed, the fourth token is not.
  plan = RunStep(scheduler);
  EXPECT_EQ(plan.slices[0].first, 34);
  EXPECT_EQ(plan.slices[0].count, 1);
}

TEST(SchedulerTest, BlocksOfDraftsThatWereWrongAreGivenBack) {
  BlockPool pool(8);
  Scheduler scheduler({.max_draft = 8}, pool);
  scheduler.Add(RequestId(1), 28, 100);
  RunStep(scheduler);
  StepPlan plan = scheduler.PlanStep();
  EXPECT_EQ(scheduler.ReserveDraft(plan.slices[0], 8), 8);
  EXPECT_EQ(pool.held(), 2);
  scheduler.Commit(plan, std::vector<int32_t>{1});
  EXPECT_EQ(pool.held(), 1);
  EXPECT_EQ(scheduler.BlockTable(RequestId(1)).size(), 1u);
}

TEST(SchedulerTest, DraftsShareTheRowsThatAreLeftAndPreemptNobody) {
  BlockPool pool(4);
  Scheduler scheduler({.max_step_tokens = 10, .max_chunk = 32, .max_draft = 16}, pool);
  scheduler.Add(RequestId(1), 5, 40);
  scheduler.Add(RequestId(2), 5, 40);
  RunStep(scheduler);
  StepPlan plan = scheduler.PlanStep();
  ASSERT_EQ(plan.slices.size(), 2u);
  const auto taken = pool.TryAcquire(1);    // so that one is left
  EXPECT_EQ(plan.slices[0].draft_room, 4);  // of eight rows
  EXPECT_EQ(plan.slices[1].draft_room, 4);
  scheduler.Commit(plan, std::vector<int32_t>{1, 1});

  for (int i = 0; i < 22; ++i) RunStep(scheduler);  // both know 29 tokens
  plan = scheduler.PlanStep();
  EXPECT_EQ(scheduler.ReserveDraft(plan.slices[0], 4), 4);  // takes the last block
  EXPECT_EQ(scheduler.ReserveDraft(plan.slices[1], 4), 3);
  EXPECT_EQ(plan.slices[1].drafted, 3);
  scheduler.Commit(plan, std::vector<int32_t>{1, 1});
  EXPECT_EQ(scheduler.running(), 2);
}

TEST(SchedulerTest, NoDraftReachesBeyondTheLongestLength) {
  BlockPool pool(8);
  Scheduler scheduler({.max_draft = 16}, pool);
  scheduler.Add(RequestId(1), 10, 14);
  RunStep(scheduler);
  EXPECT_EQ(scheduler.PlanStep().slices[0].draft_room, 2);  // and the token that follows
}

TEST(SchedulerTest, AStaticBatchRunsUntilItsLastMemberEnds) {
  BlockPool pool(64);
  Scheduler scheduler({.max_running = 3, .batching = Batching::kStatic}, pool);
  for (int64_t id = 0; id < 5; ++id) scheduler.Add(RequestId(id), 10, 50);
  EXPECT_EQ(RunStep(scheduler).slices.size(), 3u);
  EXPECT_TRUE(scheduler.Remove(RequestId(0)));
  EXPECT_TRUE(scheduler.Remove(RequestId(2)));
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(1, 10, 1)));
  EXPECT_EQ(scheduler.waiting(), 2);
  EXPECT_TRUE(scheduler.Remove(RequestId(1)));
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(3, 0, 10), LastChunk(4, 0, 10)));
}

TEST(SchedulerTest, AStaticBatchIsFormedWholeEvenWhereRowsAreShort) {
  BlockPool pool(64);
  Scheduler scheduler({.max_running = 3, .max_step_tokens = 32, .batching = Batching::kStatic},
                      pool);
  for (int64_t id = 0; id < 4; ++id) scheduler.Add(RequestId(id), 40, 60);
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(Chunk(0, 0, 32)));
  EXPECT_EQ(scheduler.running(), 3);
  EXPECT_THAT(RunStep(scheduler).slices, ElementsAre(LastChunk(0, 32, 8), Chunk(1, 0, 24)));
}

TEST(SchedulerTest, ConfigIsChecked) {
  EXPECT_TRUE(Validate(SchedulerConfig{}).ok());
  EXPECT_THAT(Validate(SchedulerConfig{.max_running = 0}).error().message,
              HasSubstr("max_running"));
  EXPECT_THAT(Validate(SchedulerConfig{.max_step_tokens = 0}).error().message,
              HasSubstr("max_step_tokens"));
  EXPECT_THAT(Validate(SchedulerConfig{.max_chunk = -5}).error().message, HasSubstr("max_chunk"));
}

TEST(SchedulerDeathTest, BrokenContractsAreCaught) {
  BlockPool pool(4);
  Scheduler scheduler({}, pool);
  EXPECT_DEATH(scheduler.Add(RequestId(1), 1, 4 * kBlockTokens + 1), "CHECK failed");
  EXPECT_DEATH(scheduler.Add(RequestId(1), 4, 4), "CHECK failed");
  scheduler.Add(RequestId(1), 1, 4);
  EXPECT_DEATH(scheduler.Add(RequestId(1), 1, 4), "CHECK failed");
  const StepPlan plan = scheduler.PlanStep();
  EXPECT_DEATH(scheduler.Commit(plan, std::vector<int32_t>{0}), "CHECK failed");
}

}  // namespace
}  // namespace millrace
