// What the dashboard draws beside what happened: static batching and contiguous KV memory.
#include <gtest/gtest.h>

#include <cmath>

#include "server/contiguous_picture.h"
#include "server/latency_window.h"
#include "server/static_replay.h"

namespace millrace::server_internal {
namespace {

using Kind = TimelinePart::Kind;

TimelinePart Part(int64_t request, Kind kind, int32_t tokens = 1) {
  return {.request = RequestId(request),
          .kind = kind,
          .tokens = tokens,
          .emitted = kind == Kind::kDecode ? 1 : 0};
}

// Two places. A (1 prompt step, 2 outputs) and B (1 and 6); C arrives in step 2 and takes A's
// place.
std::vector<TimelineStep> TwoPlaces() {
  std::vector<TimelineStep> steps(8);
  for (size_t i = 0; i < steps.size(); ++i) steps[i].number = static_cast<int64_t>(i) + 1;
  const auto prefill = [](int64_t request) {
    TimelinePart part = Part(request, Kind::kPrefill, 10);
    part.emitted = 1;
    return part;
  };
  steps[0].parts = {prefill(1), prefill(2)};
  steps[1].parts = {Part(1, Kind::kDecode), Part(2, Kind::kDecode)};
  steps[2].parts = {Part(2, Kind::kDecode), prefill(3)};
  for (size_t i = 3; i < 6; ++i) steps[i].parts = {Part(2, Kind::kDecode), Part(3, Kind::kDecode)};
  return steps;
}

TEST(StaticReplayTest, ANewcomerWaitsForTheLongestOfTheBatch) {
  std::vector<TimelineStep> steps = TwoPlaces();
  const StaticReplay replay = ReplayStatically(steps, {});
  EXPECT_EQ(replay.places, 2);
  EXPECT_EQ(replay.steps, 8);
  EXPECT_EQ(replay.busy, 12);
  EXPECT_EQ(replay.static_busy, 12);   // the same work
  EXPECT_EQ(replay.static_steps, 10);  // B's six steps, then C's four
  ASSERT_EQ(replay.replayed.size(), 10u);
  EXPECT_EQ(replay.replayed[1].parts.size(), 2u);
  for (size_t i = 2; i < 6; ++i) {
    ASSERT_EQ(replay.replayed[i].parts.size(), 1u) << i;
    EXPECT_EQ(replay.replayed[i].parts[0].request, RequestId(2));
    EXPECT_EQ(replay.replayed[i].waiting, 1);
  }
  EXPECT_EQ(replay.replayed[6].parts[0].request, RequestId(3));
  EXPECT_EQ(replay.replayed[6].parts[0].kind, Kind::kPrefill);
}

// A step takes 1 ms and 0.1 ms for each row of prefill: so the engine learnt. The window's steps
// take `factor` as long.
StaticReplay ReplayTimed(double factor) {
  StepCost cost;
  for (int i = 0; i < 8; ++i) {
    cost.Observe(1, 0, std::chrono::milliseconds(1));
    cost.Observe(2, 0, std::chrono::milliseconds(1));
    cost.Observe(1, 10, std::chrono::milliseconds(2));
  }
  std::vector<TimelineStep> steps = TwoPlaces();
  steps.resize(6);
  const double ms[] = {3, 1, 2, 1, 1, 1};
  double now = 5;
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].begun = TimePoint{} + std::chrono::microseconds(std::lround(1000 * now));
    steps[i].took = std::chrono::microseconds(std::lround(1000 * factor * ms[i]));
    now += factor * ms[i];
  }
  return ReplayStatically(steps, {}, cost);
}

TEST(StaticReplayTest, TimesAreThoseOfMeasuredSteps) {
  for (const double factor : {1.0, 2.5}) {
    const StaticReplay replay = ReplayTimed(factor);
    EXPECT_NEAR(replay.ms, 9 * factor, 1e-6);
    EXPECT_NEAR(replay.busy_ms, 18 * factor, 1e-6);
    // A and B: a prompt step of 3 ms and B's five; C, which came after 4: 2 ms and three.
    EXPECT_NEAR(replay.static_ms, 13 * factor, 1e-3);
    EXPECT_NEAR(replay.static_busy_ms, 17 * factor, 1e-3);
    ASSERT_EQ(replay.replayed.size(), 10u);
    EXPECT_NEAR(Milliseconds(replay.replayed[6].begun - TimePoint{}), 8 * factor, 1e-3);
    EXPECT_NEAR(Milliseconds(replay.replayed[6].took), 2 * factor, 1e-3);
    EXPECT_EQ(replay.replayed[6].parts[0].request, RequestId(3));
  }
}

// Two that began together, the second ends first: nothing for continuous batching to win. A step
// that was interrupted and a cost learnt from noise do not spoil the times.
TEST(StaticReplayTest, TimesHoldOutInterruptions) {
  StepCost noisy;
  noisy.Observe(1, 0, std::chrono::microseconds(1));
  noisy.Observe(2, 0, std::chrono::milliseconds(30));
  std::vector<TimelineStep> steps(10);
  TimePoint now{};
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].parts = {Part(1, Kind::kDecode)};
    if (i < 5) steps[i].parts.push_back(Part(2, Kind::kDecode));
    steps[i].begun = now;
    steps[i].took = std::chrono::milliseconds(i < 5 ? 3 : 2);
    if (i == 2) steps[i].took = std::chrono::milliseconds(28);
    now += steps[i].took;
  }
  const StaticReplay replay = ReplayStatically(steps, {}, noisy);
  EXPECT_EQ(replay.static_steps, 10);
  EXPECT_NEAR(replay.ms, 50, 1e-6);
  EXPECT_NEAR(replay.static_ms, 50, 1e-3);
  EXPECT_NEAR(Milliseconds(replay.replayed[9].took), 2 * 50.0 / 25, 1e-3);
  EXPECT_NEAR(Milliseconds(replay.replayed[0].took), 3 * 50.0 / 25, 1e-3);
}

TEST(StaticReplayTest, WithoutMeasuredStepsTimeIsCountedInSteps) {
  const StaticReplay replay = ReplayStatically(TwoPlaces(), {});
  EXPECT_EQ(replay.static_ms, 0);
  EXPECT_EQ(replay.replayed.back().took, Duration());
}

TEST(StaticReplayTest, OfNothing) {
  EXPECT_EQ(ReplayStatically({}, {}).static_steps, 0);
  std::vector<TimelineStep> waiting(3);
  waiting[0].parts = {Part(1, Kind::kQueued, 0)};
  EXPECT_EQ(ReplayStatically(waiting, {}).places, 0);
}

KvMap MapOf(int32_t blocks, std::vector<KvSequenceUse> sequences) {
  KvMap map;
  map.blocks.resize(static_cast<size_t>(blocks));
  map.sequences = std::move(sequences);
  return map;
}

TEST(ContiguousPictureTest, EndsLeaveHolesThatALongOneCannotUse) {
  ContiguousPicture picture;
  const KvSequenceUse a{RequestId(1), 40, 100}, b{RequestId(2), 10, 64}, c{RequestId(3), 1, 96};
  const ContiguousMap first = picture.Update(MapOf(10, {a, b, c}));  // 4, 2 and 3 blocks
  ASSERT_EQ(first.regions.size(), 3u);
  EXPECT_EQ(first.regions[1].first, 4);
  EXPECT_EQ(first.regions[2].first, 6);
  EXPECT_EQ(first.reserved_slots, 9 * 32);
  EXPECT_EQ(first.filled_slots, 51);
  EXPECT_EQ(first.unusable_blocks, 0);
  const KvSequenceUse d{RequestId(4), 5, 128};  // 4 blocks: 2 + 1 are free, but apart
  const ContiguousMap second = picture.Update(MapOf(10, {a, c, d}));
  ASSERT_EQ(second.regions.size(), 2u);
  EXPECT_EQ(second.regions[1].first, 6) << "nobody moves";
  ASSERT_EQ(second.no_room.size(), 1u);
  EXPECT_EQ(second.no_room[0], RequestId(4));
  EXPECT_EQ(second.unusable_blocks, 1);
  const ContiguousMap third = picture.Update(MapOf(10, {c, d}));
  ASSERT_EQ(third.regions.size(), 2u);
  EXPECT_EQ(third.regions[0].request, RequestId(4));
  EXPECT_EQ(third.regions[0].first, 0);
  EXPECT_TRUE(third.no_room.empty());
}

TEST(LatencyWindowTest, NearestRanksOfTheLast) {
  LatencyWindow window(1000);
  EXPECT_FALSE(window.Figures().p50.has_value());
  for (int i = 1; i <= 100; ++i) window.Add(std::chrono::milliseconds(i));
  LatencyFigures figures = window.Figures();
  EXPECT_EQ(figures.count, 100);
  EXPECT_EQ(figures.p50, 50);
  EXPECT_EQ(figures.p90, 90);
  EXPECT_FALSE(figures.p95.has_value());
  EXPECT_EQ(figures.most, 100);
  for (int i = 1; i <= 1000; ++i) window.Add(std::chrono::milliseconds(7));
  figures = window.Figures();
  EXPECT_EQ(figures.count, 1000);
  EXPECT_EQ(figures.most, 7);
  EXPECT_EQ(figures.p99, 7);
}

TEST(LatencyWindowTest, KeepsNothingWhereItIsOff) {
  LatencyWindow window(0);
  window.Add(std::chrono::milliseconds(1));
  EXPECT_EQ(window.Figures().count, 0);
}

}  // namespace
}  // namespace millrace::server_internal
