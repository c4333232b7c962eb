#include "continuous_batching/step_cost.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace millrace {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// A machine whose steps take fixed + decode rows * per_decode + prefill rows * per_prefill.
struct Machine {
  Duration fixed, per_decode, per_prefill;
  Duration Step(int32_t decode, int32_t prefill) const {
    return fixed + per_decode * decode + per_prefill * prefill;
  }
};

constexpr Machine kMachine{milliseconds(30), milliseconds(2), microseconds(500)};
constexpr Duration kStepTarget = milliseconds(100);

TEST(StepCostTest, UnmeasuredBeginsSmall) {
  const StepCost cost;
  EXPECT_EQ(cost.PrefillRows(4, kStepTarget, 512), StepCost::kFirstPrefill);
  EXPECT_EQ(cost.PrefillRows(4, kStepTarget, 5), 5);
  EXPECT_FALSE(cost.Decode(4).has_value());
  EXPECT_FALSE(cost.PrefillRow().has_value());
}

TEST(StepCostTest, LearnsTheLineOfDecodeSteps) {
  StepCost cost;
  for (int32_t rows = 1; rows <= 8; ++rows) cost.Observe(rows, 0, kMachine.Step(rows, 0));
  for (int32_t rows : {1, 8, 12}) {
    EXPECT_NEAR(Milliseconds(*cost.Decode(rows)), Milliseconds(kMachine.Step(rows, 0)), 0.01);
  }
  cost.Observe(4, 64, kMachine.Step(4, 64));
  EXPECT_NEAR(Milliseconds(*cost.PrefillRow()), 0.5, 0.001);
  // 100 ms less 38 ms of decoding: 124 rows of 0.5 ms.
  EXPECT_NEAR(cost.PrefillRows(4, kStepTarget, 512), 124, 1);
  EXPECT_EQ(cost.PrefillRows(4, kStepTarget, 100), 100);
}

// A chunk has a fixed part of its own: 2 ms, and 0.1 ms a row.
TEST(StepCostTest, RowsOfAShortChunkCostMoreThanThoseOfALong) {
  StepCost cost;
  EXPECT_FALSE(cost.Prefill(10).has_value());
  for (int32_t i = 0; i < 8; ++i) cost.Observe(4, 0, milliseconds(30));
  for (int32_t i = 0; i < 40; ++i) {
    const int32_t rows = i == 0 ? 300 : 10;  // one long, as where all others find their beginning
    cost.Observe(4, rows, milliseconds(32) + microseconds(100) * rows);
  }
  EXPECT_NEAR(Milliseconds(*cost.PrefillRow()), 0.3, 0.001);  // as in the latest
  EXPECT_NEAR(Milliseconds(*cost.Prefill(10)), 3, 0.01);
  EXPECT_NEAR(Milliseconds(*cost.Prefill(300)), 32, 0.1);
  EXPECT_NEAR(Milliseconds(*cost.Prefill(600)), 62, 0.2);
  StepCost alike;
  for (int32_t i = 0; i < 8; ++i) alike.Observe(0, 10, milliseconds(3));
  EXPECT_NEAR(Milliseconds(*alike.Prefill(100)), 30, 0.01);  // nothing else is known
}

TEST(StepCostTest, StepsWithoutTimeOrRowsTeachNothing) {
  StepCost cost;
  cost.Observe(0, 0, milliseconds(5));
  cost.Observe(3, 0, Duration(0));
  cost.Observe(3, 10, Duration(-5));
  EXPECT_FALSE(cost.Decode(3).has_value());
  EXPECT_FALSE(cost.PrefillRow().has_value());
}

TEST(StepCostTest, ADecodeStepLongerThanTheTargetLeavesTheLeast) {
  StepCost cost;
  cost.Observe(4, 0, milliseconds(150));
  cost.Observe(4, 32, milliseconds(170));
  EXPECT_EQ(cost.PrefillRows(4, kStepTarget, 512), StepCost::kLeastPrefill);
}

TEST(StepCostTest, TheFixedPartIsNotTakenForPrefillOnceItIsKnown) {
  StepCost cost;
  cost.Observe(0, 4, kMachine.Step(0, 4));  // 8 ms for each row, it seems
  cost.Observe(1, 0, kMachine.Step(1, 0));
  cost.Observe(1, 32, kMachine.Step(1, 32));
  EXPECT_NEAR(Milliseconds(*cost.PrefillRow()), 0.5, 0.001);
}

TEST(StepCostTest, WhatPrefillTookBeforeAnyDecodeStepIsKept) {
  StepCost cost;
  cost.Observe(0, 100, kMachine.Step(0, 100));  // 80 ms
  EXPECT_NEAR(Milliseconds(*cost.PrefillRow()), 0.8, 0.001);
  cost.Observe(1, 0, kMachine.Step(1, 0));  // 32 ms
  EXPECT_FALSE(cost.PrefillRow().has_value());  // of what bounds a step, nothing doubtful
  EXPECT_NEAR(Milliseconds(*cost.Prefill(50)), 24, 0.01);
}

TEST(StepCostTest, RowsThatSeemToCostNothingAreBoundedByTheMost) {
  StepCost cost;
  cost.Observe(4, 0, milliseconds(20));
  cost.Observe(4, 32, milliseconds(19));
  EXPECT_EQ(cost.PrefillRows(4, kStepTarget, 512), 512);
}

// Runs machines of random speeds with noise of a tenth and a change of speed in between: after a
// few steps of learning every step with more than the least prefill keeps the target, but for the
// noise, and no more than needed is given away.
TEST(StepCostTest, RandomMachinesKeepTheTarget) {
  CounterRng rng(1, 2);
  const auto between = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(rng.NextU64() % 10000) / 10000;
  };
  int32_t steps = 0;
  for (int world = 0; world < 200; ++world) {
    StepCost cost;
    for (int phase = 0; phase < 2; ++phase) {
      const double fixed = between(1e6, 60e6), decode = between(1e5, 2e6);
      const double prefill = between(1e5, 3e6);
      for (int step = 0; step < 100; ++step) {
        const auto decode_rows = static_cast<int32_t>(between(1, 9));
        const int32_t rows =
            step % 5 == 4 ? 0
                          : cost.PrefillRows(decode_rows, kStepTarget, 512);  // some only decode
        const double exact = fixed + decode * decode_rows + prefill * rows;
        cost.Observe(decode_rows, rows,
                     Duration(static_cast<int64_t>(exact * between(0.95, 1.05))));
        if (step < 40 || rows <= StepCost::kLeastPrefill) continue;
        ASSERT_LE(exact, 1.2 * static_cast<double>(kStepTarget.count())) << world << " " << step;
        if (rows < 512) {
          ASSERT_GE(exact + prefill, 0.7 * static_cast<double>(kStepTarget.count())) << world;
        }
        ++steps;
      }
    }
  }
  EXPECT_GT(steps, 10000);
}

}  // namespace
}  // namespace millrace
