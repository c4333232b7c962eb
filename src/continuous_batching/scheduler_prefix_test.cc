// The scheduler with a prefix tree: what is taken over, who waits, who comes first, what gives way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "continuous_batching/scheduler.h"
#include "continuous_batching/test_support.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Tokens = std::vector<TokenId>;

Tokens Rising(int32_t first, int32_t count) {
  Tokens tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(TokenId(first + i));
  return tokens;
}
Tokens Joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Fixture {
  explicit Fixture(int32_t blocks, SchedulerConfig config = {}, int32_t max_pinned = 0)
      : pool(blocks), tree(pool, {.max_pinned = max_pinned}), scheduler(config, pool, &tree) {}

  void Add(int64_t id, Tokens prompt, int32_t max_length, const std::string& space = "") {
    const auto length = static_cast<int32_t>(prompt.size());
    Tokens& kept = tokens[id] = std::move(prompt);
    scheduler.Add(RequestId(id), length, max_length, PrefixUse{.space = space, .tokens = &kept});
  }
  // Plans a step and commits it; whatever samples gets the token 7.
  StepPlan Step() {
    StepPlan plan = scheduler.PlanStep();
    std::vector<int32_t> appended;
    for (const Slice& slice : plan.slices) {
      computed += slice.count;
      appended.push_back(slice.samples ? 1 : 0);
      if (slice.samples) tokens[slice.request.value].push_back(TokenId(7));
    }
    scheduler.Commit(plan, appended);
    EXPECT_TRUE(tree.IsConsistent());
    return plan;
  }
  void End(int64_t id) { EXPECT_TRUE(scheduler.Remove(RequestId(id))); }
  // One request from its prompt to its first token, and gone.
  void Serve(int64_t id, const Tokens& prompt, const std::string& space = "") {
    Add(id, prompt, static_cast<int32_t>(prompt.size()) + 1, space);
    while (static_cast<size_t>(tokens[id].size()) == prompt.size()) Step();
    End(id);
  }

  BlockPool pool;
  PrefixTree tree;
  std::map<int64_t, Tokens> tokens;
  Scheduler scheduler;
  int32_t computed = 0;
};

TEST(SchedulerPrefixTest, AFinishedRequestLeavesItsBlocks) {
  Fixture f(16);
  f.Serve(1, Rising(0, 100));
  EXPECT_EQ(f.pool.held(), 4);
  EXPECT_EQ(f.pool.reclaimable(), 4);
  f.Add(2, Joined(Rising(0, 80), Rising(500, 30)), 200);
  const StepPlan plan = f.Step();
  EXPECT_THAT(plan.admitted, ElementsAre(Admission{RequestId(2), 80}));
  EXPECT_THAT(plan.slices, ElementsAre(LastChunk(2, 80, 30)));
  ASSERT_EQ(plan.copies.size(), 1u);  // the third block: 16 of its tokens
  EXPECT_EQ(plan.copies[0].to, f.scheduler.BlockTable(RequestId(2))[2]);
  EXPECT_NE(plan.copies[0].to, plan.copies[0].from);
}

TEST(SchedulerPrefixTest, TheLastTokenIsAlwaysComputed) {
  Fixture f(16);
  for (int32_t length : {1, 2, 31, 32, 33, 64, 96}) {
    const auto id = int64_t{length};
    f.Serve(id, Rising(1000 * length, length));
    f.Add(id + 1000, Rising(1000 * length, length), length + 1);
    const StepPlan plan = f.Step();
    EXPECT_THAT(plan.slices, ElementsAre(LastChunk(id + 1000, length - 1, 1))) << length;
    f.End(id + 1000);
  }
}

TEST(SchedulerPrefixTest, OutputIsReusedToo) {
  Fixture f(16);
  f.Add(1, Rising(0, 20), 60);
  for (int i = 0; i < 30; ++i) f.Step();
  f.End(1);
  // The last token was sampled, not computed.
  const Tokens chat = Joined(f.tokens[1], Rising(900, 5));
  f.Add(2, chat, 100);
  EXPECT_THAT(f.Step().slices, ElementsAre(LastChunk(2, 49, 6)));
}

TEST(SchedulerPrefixTest, WhoTakesNoPartSharesNothing) {
  Fixture f(16);
  f.Serve(1, Rising(0, 100));
  f.scheduler.Add(RequestId(2), 100, 120);
  EXPECT_THAT(f.Step().slices, ElementsAre(LastChunk(2, 0, 100)));
  f.End(2);
  EXPECT_EQ(f.tree.stats().nodes, 4);
  f.Serve(3, Rising(0, 100), "another");
  EXPECT_EQ(f.computed, 300);
}

TEST(SchedulerPrefixTest, WhatIsForgottenLeavesNoMoreThanItHad) {
  Fixture f(16);
  f.Add(1, Rising(0, 40), 100);
  for (int i = 0; i < 10; ++i) f.Step();
  EXPECT_TRUE(f.scheduler.Remove(RequestId(1), Scheduler::Afterwards::kForget));
  EXPECT_EQ(f.tree.Count("", f.tokens[1]), 40);
}

TEST(SchedulerPrefixTest, RequestsAliveTogetherShareBlocks) {
  Fixture f(64);
  f.Add(1, Rising(0, 320), 400);
  f.Step();
  f.Add(2, Joined(Rising(0, 320), Rising(900, 10)), 400);
  EXPECT_THAT(f.Step().slices, ElementsAre(LastChunk(1, 320, 1), LastChunk(2, 320, 10)));
  const auto first = f.scheduler.BlockTable(RequestId(1));
  const auto second = f.scheduler.BlockTable(RequestId(2));
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(first[i], second[i]);
  EXPECT_NE(first[10], second[10]);
  EXPECT_EQ(f.pool.held(), 12);
}

// Eight requests that arrive together compute their common beginning once.
TEST(SchedulerPrefixTest, WhoeverSharesAPrefixThatIsBeingComputedWaitsForIt) {
  Fixture f(128, {.max_chunk = 64, .max_overtakes = 100});
  for (int64_t id = 0; id < 8; ++id) {
    f.Add(id, Joined(Rising(0, 200), Rising(1000 * static_cast<int32_t>(id + 1), 30)), 300);
  }
  f.Add(8, Rising(90000, 20), 60);  // shares nothing: does not wait behind those who do
  EXPECT_THAT(f.Step().slices, ElementsAre(Chunk(0, 0, 64), LastChunk(8, 0, 20)));
  f.End(8);
  f.computed -= 20;
  while (f.scheduler.waiting() > 0) f.Step();
  int32_t decoded = 0;  // the last of an output is sampled, not computed
  for (int64_t id = 0; id < 8; ++id) {
    decoded += static_cast<int32_t>(f.tokens[id].size()) - 230 - 1;
  }
  EXPECT_EQ(f.computed, 200 + 8 * 30 + decoded);
}

TEST(SchedulerPrefixTest, NobodyWaitsForLessThanABlock) {
  Fixture f(64);
  f.Add(1, Joined(Rising(0, 31), Rising(500, 31)), 100);
  f.Add(2, Joined(Rising(0, 31), Rising(700, 31)), 100);
  EXPECT_EQ(f.Step().slices.size(), 2u);
}

TEST(SchedulerPrefixTest, WhoWaitedGoesOnWhenTheOtherIsCancelled) {
  Fixture f(64, {.max_chunk = 32});
  f.Add(1, Rising(0, 200), 300);
  f.Add(2, Rising(0, 201), 300);
  f.Step();
  EXPECT_EQ(f.scheduler.waiting(), 1);
  f.End(1);
  EXPECT_THAT(f.Step().slices, ElementsAre(Chunk(2, 32, 32)));
}

TEST(SchedulerPrefixTest, TheLongestCachedPrefixComesFirst) {
  Fixture f(64, {.max_running = 1});
  f.Serve(1, Rising(0, 128));
  f.Serve(2, Rising(5000, 64));
  f.Add(10, Rising(90000, 40), 100);
  f.Add(11, Rising(5000, 100), 200);
  f.Add(12, Rising(0, 160), 200);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(12), 128}));
  f.End(12);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(11), 64}));
  f.End(11);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(10), 0}));
}

TEST(SchedulerPrefixTest, NobodyIsOvertakenMoreThanTheBound) {
  constexpr int32_t kBound = 5;
  Fixture f(64, {.max_running = 1, .max_overtakes = kBound});
  f.Serve(1, Rising(0, 128));
  f.Add(2, Rising(90000, 40), 100);
  int64_t next = 100;
  for (int i = 0; i < 4; ++i) f.Add(next++, Rising(0, 140), 200);
  int32_t overtaken = 0;
  for (;; ++overtaken) {
    f.Add(next++, Rising(0, 140), 200);  // there is always one more that is cached
    const StepPlan plan = f.Step();
    ASSERT_EQ(plan.admitted.size(), 1u);
    const RequestId admitted = plan.admitted[0].request;
    f.End(admitted.value);
    if (admitted == RequestId(2)) break;
  }
  EXPECT_EQ(overtaken, kBound);
}

TEST(SchedulerPrefixTest, NoOvertakingMeansOrderOfArrival) {
  Fixture f(64, {.max_running = 1, .max_overtakes = 0});
  f.Serve(1, Rising(0, 128));
  f.Add(2, Rising(90000, 40), 100);
  f.Add(3, Rising(0, 140), 200);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(2), 0}));
}

TEST(SchedulerPrefixTest, WhatNobodyUsesGoesBeforeAnybodyIsPreempted) {
  Fixture f(6);
  f.Serve(1, Rising(0, 127));
  EXPECT_EQ(f.pool.held(), 4);
  f.Add(2, Rising(500, 64), 190);
  f.Add(3, Rising(900, 1), 60);
  size_t preempted = 0;
  for (int i = 0; i < 30; ++i) preempted += f.Step().preempted.size();
  f.End(3);
  while (f.tokens[2].size() < 128) preempted += f.Step().preempted.size();
  EXPECT_EQ(preempted, 0u);
  EXPECT_GT(f.tree.stats().evicted, 0);
}

TEST(SchedulerPrefixTest, APreemptedSequenceFindsWhatItLeft) {
  Fixture f(5);
  f.Add(1, Rising(0, 32), 128);
  f.Add(2, Rising(500, 32), 128);
  StepPlan plan;
  while ((plan = f.Step()).preempted.empty()) {
  }
  EXPECT_THAT(plan.preempted, ElementsAre(RequestId(2)));
  EXPECT_THAT(plan.admitted, IsEmpty());
  const auto known = static_cast<int32_t>(f.tokens[2].size());
  f.End(1);
  plan = f.Step();
  ASSERT_EQ(plan.admitted.size(), 1u);
  EXPECT_GE(plan.admitted[0].cached, 32);
  ASSERT_EQ(plan.slices.size(), 1u);
  EXPECT_EQ(plan.slices[0].first + plan.slices[0].count, known);
}

TEST(SchedulerPrefixTest, PinsGiveWayToTheFirstOnly) {
  Fixture f(6, {}, 3);
  f.Serve(1, Rising(0, 96));
  EXPECT_EQ(f.tree.Pin("", Rising(0, 96)), 3);
  f.Add(2, Rising(500, 32), 180);
  f.Add(3, Rising(900, 1), 180);
  f.Step();
  EXPECT_EQ(f.scheduler.running(), 1);  // two blocks ahead for the second: only one is left
  while (f.tokens[2].size() < 96) {
    f.Step();
    EXPECT_EQ(f.tree.stats().pinned, 3);
  }
  while (f.tokens[2].size() < 179) f.Step();
  EXPECT_EQ(f.tree.stats().pinned, 0);
  f.End(2);
  f.End(3);
}

TEST(SchedulerPrefixTest, PinsDoNotKeepALongPromptOut) {
  Fixture f(4, {}, 4);
  f.Serve(1, Rising(0, 96));
  EXPECT_EQ(f.tree.Pin("", Rising(0, 96)), 3);
  f.Add(2, Rising(500, 120), 128);
  EXPECT_THAT(f.Step().slices, ElementsAre(LastChunk(2, 0, 120)));
}

TEST(SchedulerPrefixTest, AHeldSequenceIsNotAdmittedWhileOthersRun) {
  Fixture f(32, {.max_running = 3});
  f.Add(1, Rising(0, 10), 100);
  f.Step();
  f.Add(2, Rising(500, 10), 100);
  f.Add(3, Rising(900, 10), 100);
  EXPECT_THAT(f.scheduler.NextToAdmit(), ElementsAre(RequestId(2), RequestId(3)));
  f.scheduler.Hold(RequestId(2), true);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(3), 0}));
  EXPECT_THAT(f.Step().admitted, IsEmpty());
  f.scheduler.Hold(RequestId(2), false);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(2), 0}));
  f.Add(4, Rising(1300, 10), 100);
  EXPECT_THAT(f.scheduler.NextToAdmit(), IsEmpty());  // no place
  f.scheduler.Hold(RequestId(4), true);
  for (int64_t id : {1, 2, 3}) f.End(id);
  EXPECT_THAT(f.Step().admitted, ElementsAre(Admission{RequestId(4), 0}));  // nothing else to do
}

// A pool so tight that the copy of a part and its source do not both fit.
TEST(SchedulerPrefixTest, TheTightestPoolServesWithoutACopy) {
  Fixture f(3);
  f.Serve(1, Rising(0, 80));
  f.Add(2, Joined(Rising(0, 79), Rising(500, 10)), 96);
  const StepPlan plan = f.Step();
  EXPECT_THAT(plan.copies, IsEmpty());
  EXPECT_THAT(plan.slices, ElementsAre(LastChunk(2, 64, 25)));
}

}  // namespace
}  // namespace millrace
