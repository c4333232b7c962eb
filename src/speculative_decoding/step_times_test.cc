#include "speculative_decoding/step_times.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(StepTimesTest, InterpolatesBetweenWhatWasMeasured) {
  StepTimes times;
  EXPECT_FALSE(times.known());
  EXPECT_EQ(times.Of({.rows = 3}), 0);
  times.SetBase(1, 0.010);
  times.SetBase(16, 0.025);
  EXPECT_DOUBLE_EQ(times.Of({.rows = 1}), 0.010);
  EXPECT_NEAR(times.Of({.rows = 6}), 0.015, 1e-9);
  EXPECT_NEAR(times.Of({.rows = 10}), 0.019, 1e-9);
  times.SetBase(6, 0.011);
  EXPECT_NEAR(times.Of({.rows = 6}), 0.011, 1e-9);
  EXPECT_GT(times.Of({.rows = 32}), 0.025);
}

TEST(StepTimesTest, DepthCountsPerSequenceAndPerFurtherRow) {
  StepTimes times;
  times.SetBase(1, 0.010);
  times.SetBase(8, 0.010);
  times.SetDepth(1e-6, 1e-7);
  EXPECT_NEAR(times.Of({.rows = 8, .depth = 1000, .further_depth = 7000}), 0.0117, 1e-9);
}

TEST(StepTimesTest, FollowsTheMachine) {
  StepTimes times;
  times.SetBase(1, 0.010);
  times.SetBase(8, 0.016);
  // Everything takes twice as long from now on, but only steps of one row are seen.
  for (int i = 0; i < 100; ++i) times.Observe({.rows = 1}, 0.020);
  EXPECT_NEAR(times.Of({.rows = 1}), 0.020, 0.0005);
  EXPECT_GT(times.Of({.rows = 8}), 0.018);  // a part of it is the machine's
  for (int i = 0; i < 100; ++i) times.Observe({.rows = 8}, 0.032);
  EXPECT_NEAR(times.Of({.rows = 8}), 0.032, 0.0005);
}

TEST(StepTimesTest, OneOutlierMattersLittle) {
  StepTimes times;
  times.SetBase(1, 0.010);
  times.Observe({.rows = 1}, 5.0);
  EXPECT_LT(times.Of({.rows = 1}), 0.0108);
}

TEST(StepTimesTest, LearnsFromNothing) {
  StepTimes times;
  times.Observe({.rows = 2}, 0.010);
  EXPECT_TRUE(times.known());
  EXPECT_NEAR(times.Of({.rows = 2}), 0.010, 1e-9);
  EXPECT_GT(times.Of({.rows = 9}), 0.012);
}

}  // namespace
}  // namespace millrace
