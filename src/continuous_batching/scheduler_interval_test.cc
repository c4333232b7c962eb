// Prefill chunks that keep the interval between the tokens of running streams, on a simulated
// machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/rng.h"
#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr Duration kTarget = milliseconds(100);

// Runs a scheduler on a machine whose steps take 40 ms, 1 ms more for each decode row and 0.4 ms
// for each prefill row.
struct Simulation {
  explicit Simulation(SchedulerConfig config, int32_t blocks = 1024)
      : pool(blocks), scheduler(config, pool) {}

  StepPlan Step() {
    StepPlan plan = scheduler.PlanStep();
    std::vector<int32_t> appended;
    decode_rows = prefill_rows = 0;
    for (const Slice& slice : plan.slices) {
      appended.push_back(slice.samples ? 1 : 0);
      (slice.samples && slice.count == 1 ? decode_rows : prefill_rows) += slice.count;
    }
    took = milliseconds(40) + milliseconds(1) * decode_rows + microseconds(400) * prefill_rows;
    scheduler.Commit(plan, appended);
    scheduler.Observe(plan, took);
    return plan;
  }

  BlockPool pool;
  Scheduler scheduler;
  int32_t decode_rows = 0, prefill_rows = 0;
  Duration took{};
};

// Eight streams decode when a prompt of 4,000 tokens arrives; the longest step until it is done.
Duration LongestStepBesideALongPrompt(SchedulerConfig config, int32_t& steps) {
  Simulation s(config);
  for (int64_t id = 0; id < 8; ++id) s.scheduler.Add(RequestId(id), 16, 2000);
  for (int i = 0; i < 20; ++i) s.Step();
  s.scheduler.Add(RequestId(100), 4000, 4100);
  Duration longest{};
  for (steps = 1; steps < 1000; ++steps) {
    const StepPlan plan = s.Step();
    EXPECT_GE(s.decode_rows, 8);
    longest = std::max(longest, s.took);
    for (const Slice& slice : plan.slices) {
      if (slice.request == RequestId(100) && slice.samples) return longest;
      if (slice.request == RequestId(100) && config.target_interval) {
        EXPECT_EQ((slice.first + slice.count) % kBlockTokens, 0) << "whole blocks where possible";
      }
    }
  }
  ADD_FAILURE() << "the prompt did not end";
  return longest;
}

TEST(SchedulerIntervalTest, ALongPromptKeepsTheTarget) {
  int32_t steps = 0;
  EXPECT_LE(LongestStepBesideALongPrompt({.target_interval = kTarget}, steps), kTarget);
  // 52 ms are left beside 8 decode rows: 130 prefill rows, 128 in whole blocks.
  EXPECT_LE(steps, 4000 / 128 + 4);
  // The same without a target shows the stall.
  EXPECT_GE(LongestStepBesideALongPrompt({}, steps), 2 * kTarget);
}

TEST(SchedulerIntervalTest, WhereNobodyDecodesChunksAreWhole) {
  Simulation s({.target_interval = milliseconds(1)});
  s.scheduler.Add(RequestId(1), 1200, 1300);
  s.Step();
  EXPECT_EQ(s.prefill_rows, 512);
  s.Step();
  EXPECT_EQ(s.prefill_rows, 512);
}

TEST(SchedulerIntervalTest, AnImpossibleTargetStillMakesProgress) {
  Simulation s({.target_interval = microseconds(1)});
  s.scheduler.Add(RequestId(1), 16, 2000);
  for (int i = 0; i < 5; ++i) s.Step();
  s.scheduler.Add(RequestId(2), 300, 310);
  int32_t steps = 0;
  for (bool done = false; !done; ++steps) {
    ASSERT_LE(steps, 300 / StepCost::kLeastPrefill + 1);
    for (const Slice& slice : s.Step().slices) {
      if (slice.request == RequestId(2)) done = slice.samples;
    }
    EXPECT_EQ(s.decode_rows, 1);
    EXPECT_LE(s.prefill_rows, StepCost::kFirstPrefill);
  }
}

TEST(SchedulerIntervalTest, TheTargetIsChecked) {
  EXPECT_TRUE(Validate(SchedulerConfig{.target_interval = Duration(1)}).ok());
  EXPECT_THAT(Validate(SchedulerConfig{.target_interval = Duration(0)}).error().message,
              HasSubstr("target_interval"));
}

// Random requests come and go: the first always advances, rows stay within what the cost allows,
// and every request ends.
TEST(SchedulerIntervalTest, RandomLoadsKeepTheTargetAndTheFirstAdvances) {
  int64_t tight_steps = 0;
  for (uint64_t world = 0; world < 50; ++world) {
    CounterRng rng(world, 3);
    const auto below = [&](int32_t bound) {
      return static_cast<int32_t>(rng.NextU64() % static_cast<uint64_t>(bound));
    };
    Simulation s({.max_running = 8, .target_interval = kTarget}, 64 + below(400));
    std::map<RequestId, int32_t> left;  // tokens to generate, by age
    int64_t next = 0;
    for (int step = 0; step < 400 || !left.empty(); ++step) {
      ASSERT_LT(step, 20000) << "somebody does not end";
      if (step < 400 && left.size() < 12 && below(4) == 0) {
        const int32_t output = 1 + below(60);
        const int32_t prompt = 1 + below(1500);
        s.scheduler.Add(RequestId(next), prompt, prompt + output);
        left[RequestId(next++)] = output;
      }
      const StepPlan plan = s.Step();
      ASSERT_TRUE(left.empty() || !plan.slices.empty());
      bool oldest_advanced = left.empty();
      for (const Slice& slice : plan.slices) {
        oldest_advanced |= slice.request == left.begin()->first;
      }
      ASSERT_TRUE(oldest_advanced) << "world " << world << " step " << step;
      if (s.decode_rows > 0 && step > 60) {
        ASSERT_LE(s.took, kTarget * 12 / 10) << "world " << world << " step " << step;
        tight_steps += s.prefill_rows > 0 ? 1 : 0;
      }
      for (const Slice& slice : plan.slices) {
        if (slice.samples && --left[slice.request] == 0) {
          s.scheduler.Remove(slice.request);
          left.erase(slice.request);
        }
      }
    }
    EXPECT_EQ(s.pool.held(), 0);
  }
  EXPECT_GT(tight_steps, 1000);
}

}  // namespace
}  // namespace millrace
