#include "engine/queue_pace.h"

#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

using std::chrono::seconds;

constexpr TimePoint At(int64_t second) { return TimePoint(seconds(second)); }

TEST(QueuePaceTest, NothingBegunNothingKnown) {
  EXPECT_FALSE(QueuePace().TimeFor(3, 100).has_value());
}

TEST(QueuePaceTest, ABacklogTakesTheMeanOfEach) {
  QueuePace pace;
  for (int64_t i = 1; i <= 10; ++i) pace.Begun(At(0), At(2 * i), 100);
  EXPECT_NEAR(Seconds(*pace.TimeFor(5, 500)), 10, 0.01);
  EXPECT_NEAR(Seconds(*pace.TimeFor(5, 1500)), 30, 0.01);  // longer prompts than usual
  EXPECT_NEAR(Seconds(*pace.TimeFor(0, 0)), 0, 0.01);
}

TEST(QueuePaceTest, TimeInWhichNobodyWaitedDoesNotCount) {
  QueuePace pace;
  pace.Begun(At(0), At(1), 10);
  pace.Begun(At(1000), At(1001), 10);
  EXPECT_NEAR(Seconds(*pace.TimeFor(4, 40)), 4, 0.01);
}

TEST(QueuePaceTest, FollowsAChangeOfSpeed) {
  QueuePace pace;
  int64_t now = 0;
  for (int i = 0; i < 100; ++i) pace.Begun(At(0), At(now += 10), 10);
  for (int i = 0; i < 300; ++i) pace.Begun(At(0), At(now += 1), 10);
  EXPECT_NEAR(Seconds(*pace.TimeFor(1, 10)), 1, 0.2);
}

// One place, requests of 1 + 3 steps of a second each: the queue moves every 4 s.
TEST(QueuePaceTest, TheEngineTellsWhenToComeBack) {
  ManualClock time;
  auto model = std::make_unique<FakeModel>(kTestVocab);
  model->on_batch = [&](const Batch&) { time.Advance(seconds(1)); };
  EngineConfig config;
  config.scheduler.max_running = 1;
  config.max_queued_requests = 3;
  Engine engine(config, std::move(model), MakeKv(64), time.clock());
  EXPECT_EQ(engine.RetryAfter(), seconds(1));  // nothing is known yet
  Recorder recorder;
  for (int round = 0; round < 40; ++round) {
    (void)engine.Submit(MakeRequest(8, 4, 1), recorder.Sink());
    if (round >= 3) engine.Step();
  }
  auto refused = engine.Submit(MakeRequest(8, 4, 1), recorder.Sink());
  if (refused.ok()) refused = engine.Submit(MakeRequest(8, 4, 1), recorder.Sink());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::kExhausted);
  EXPECT_NEAR(Seconds(engine.RetryAfter()), 12, 3);  // three that wait
  while (engine.Step()) {
  }
  EXPECT_EQ(engine.RetryAfter(), seconds(1));  // nobody waits
}

}  // namespace
}  // namespace millrace
