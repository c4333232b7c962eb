// The timeline against what the requests' own counts say.
#include "engine/timeline.h"

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

using Kind = TimelinePart::Kind;

struct Sums {
  int32_t prefill = 0, decode = 0, emitted = 0, queued = 0, preempted = 0, cached = 0, ends = 0;
};

std::map<RequestId, Sums> SumUp(const std::vector<TimelineStep>& steps) {
  std::map<RequestId, Sums> sums;
  for (const TimelineStep& step : steps) {
    for (const TimelinePart& part : step.parts) {
      Sums& sum = sums[part.request];
      if (part.kind == Kind::kPrefill) sum.prefill += part.tokens;
      if (part.kind == Kind::kDecode) sum.decode += part.tokens;
      if (part.kind == Kind::kQueued) ++sum.queued;
      if (part.kind == Kind::kPreempted) ++sum.preempted;
      sum.emitted += part.emitted;
      sum.cached += part.cached;
      sum.ends += part.finished ? 1 : 0;
    }
  }
  return sums;
}

TEST(TimelineTest, PartsAddUpToTheRequests) {
  EngineConfig config;
  config.timeline_steps = 10'000;
  config.scheduler.max_running = 4;
  config.scheduler.max_chunk = 40;
  ManualClock time;
  auto model = std::make_unique<FakeModel>(kTestVocab);
  model->on_batch = [&](const Batch&) { time.Advance(Duration(1000)); };
  Engine engine(config, std::move(model), MakeKv(10), time.clock());
  Recorder recorder;
  std::vector<RequestId> ids;
  for (int32_t i = 0; i < 12; ++i) {
    const auto id =
        engine.Submit(MakeRequest(50 + i, 60, static_cast<uint64_t>(i / 2)), recorder.Sink());
    ASSERT_TRUE(id.ok());
    ids.push_back(*id);
  }
  while (engine.Step()) {
  }
  const auto steps = engine.LastSteps(1'000'000);
  ASSERT_EQ(steps.size(), static_cast<size_t>(engine.stats().steps));
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].number, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(steps[i].took, Duration(1000));
    if (i > 0) {
      EXPECT_GE(steps[i].begun, steps[i - 1].begun + steps[i - 1].took);
    }
  }
  EXPECT_GE(steps.front().waiting, 12 - 4);
  const auto sums = SumUp(steps);
  int32_t queued = 0, preempted = 0;
  for (const RequestId id : ids) {
    const RequestTimings timings = recorder.Of(id).finishes.at(0).timings;
    const Sums& sum = sums.at(id);
    EXPECT_EQ(sum.prefill + sum.decode, timings.computed_tokens);
    EXPECT_EQ(sum.emitted, timings.output_tokens);
    EXPECT_GE(sum.cached, timings.cached_tokens);
    EXPECT_EQ(sum.ends, 1);
    EXPECT_EQ(Duration(1000) * sum.queued, timings.queued);
    EXPECT_EQ(timings.preemptions > 0, timings.recomputed_tokens > 0 || sum.preempted > 0);
    queued += sum.queued;
    preempted += sum.preempted;
  }
  EXPECT_GT(queued, 0);
  EXPECT_GT(preempted, 0);  // ten blocks are few for four of them
}

TEST(TimelineTest, KeepsTheLastOnes) {
  Timeline timeline(3);
  for (int64_t i = 1; i <= 5; ++i) timeline.Add({.number = i, .parts = {}});
  const auto numbers = [&](size_t most) {
    std::vector<int64_t> all;
    for (const TimelineStep& step : timeline.Last(most)) all.push_back(step.number);
    return all;
  };
  EXPECT_EQ(numbers(10), (std::vector<int64_t>{3, 4, 5}));
  EXPECT_EQ(numbers(2), (std::vector<int64_t>{4, 5}));
  EXPECT_TRUE(numbers(0).empty());
  Timeline off(0);
  off.Add({.number = 1, .parts = {}});
  EXPECT_TRUE(off.Last(9).empty());
}

TEST(TimelineTest, ListsOnlySomeOfALongQueue) {
  EngineConfig config;
  config.timeline_steps = 8;
  config.max_queued_requests = 1000;
  config.scheduler.max_running = 2;
  Engine engine(config, std::make_unique<FakeModel>(kTestVocab), MakeKv(100));
  for (uint64_t i = 0; i < 500; ++i) ASSERT_TRUE(engine.Submit(MakeRequest(3, 4, i), {}).ok());
  engine.Step();
  const auto steps = engine.LastSteps(1);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].waiting, 498);
  EXPECT_EQ(steps[0].parts.size(), 2 + Timeline::kMostQueued);
}

}  // namespace
}  // namespace millrace
