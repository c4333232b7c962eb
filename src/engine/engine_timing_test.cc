// The times that a request is told, and the interval between tokens beside a long prompt.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

TEST(EngineTimingTest, TimingsAddUp) {
  ManualClock time;
  EngineFixture f({.scheduler = {.max_running = 1, .max_step_tokens = 8, .max_chunk = 8}}, 64,
                  time.clock());
  f.model->on_batch = [&](const Batch&) { time.Advance(Duration(1000)); };
  const RequestId first = f.Submit(MakeRequest(20, 5));      // 3 chunks, then 4 decode steps
  const RequestId second = f.Submit(MakeRequest(4, 2, 2));   // waits for the 7 steps of the first
  const RequestId third = f.Submit(MakeRequest(20, 50, 3));  // cancelled in prefill
  time.Advance(Duration(300));
  for (int i = 0; i < 11; ++i) f.engine->Step();
  f.engine->Cancel(third);
  time.Advance(Duration(5));
  EXPECT_FALSE(f.engine->Step());
  const auto timings = [&](RequestId id) { return f.recorder.Of(id).finishes.at(0).timings; };
  EXPECT_EQ(timings(first).queued, Duration(300));
  EXPECT_EQ(timings(first).prefill, Duration(3000));
  EXPECT_EQ(timings(first).decode, Duration(4000));
  EXPECT_EQ(timings(second).queued, Duration(7300));
  EXPECT_EQ(timings(second).prefill, Duration(1000));
  EXPECT_EQ(timings(second).decode, Duration(1000));
  EXPECT_EQ(timings(third).queued, Duration(9300));
  EXPECT_EQ(timings(third).prefill, Duration(2005));
  EXPECT_EQ(timings(third).decode, Duration(0));
  EXPECT_EQ(timings(third).computed_tokens, 16);
}

TEST(EngineTimingTest, AQueuedRequestThatIsCancelledWasOnlyQueued) {
  ManualClock time;
  EngineFixture f({}, 64, time.clock());
  const RequestId id = f.Submit(MakeRequest(20, 5));
  time.Advance(Duration(70));
  f.engine->Cancel(id);
  f.engine->Step();
  const RequestTimings timings = f.recorder.Of(id).finishes.at(0).timings;
  EXPECT_EQ(timings.queued, Duration(70));
  EXPECT_EQ(timings.prefill + timings.decode, Duration(0));
}

TEST(EngineTimingTest, ALongPromptDoesNotStallADecodingRequest) {
  EngineFixture f({.scheduler = {.max_step_tokens = 16, .max_chunk = 8}});
  const RequestId chatting = f.Submit(MakeRequest(4, 50));
  f.engine->Step();
  f.Submit(MakeRequest(500, 1));
  for (size_t step = 1; step <= 20; ++step) {
    EXPECT_EQ(f.recorder.Of(chatting).tokens.size(), step);
    f.engine->Step();
  }
}

TEST(EngineTimingTest, ChunksKeepTheIntervalAsMeasured) {
  ManualClock time;
  EngineFixture f({.scheduler = {.target_interval = std::chrono::milliseconds(100)}}, 64,
                  time.clock());
  Duration step{};
  f.model->on_batch = [&](const Batch& batch) {
    step = std::chrono::milliseconds(20);
    for (const BatchSequence& sequence : batch.sequences) {
      step += std::chrono::milliseconds(1) * static_cast<int64_t>(sequence.tokens.size());
    }
    time.Advance(step);
  };
  const Request chat = MakeRequest(4, 60, 1);
  const Request lengthy = MakeRequest(900, 3, 2);
  const RequestId chatting = f.Submit(chat);
  for (int i = 0; i < 10; ++i) f.engine->Step();
  const RequestId prompt = f.Submit(lengthy);
  int steps = 0;
  for (; f.recorder.Of(prompt).tokens.empty(); ++steps) {
    f.engine->Step();
    EXPECT_LE(step, std::chrono::milliseconds(105));
  }
  EXPECT_GE(steps, 900 / 80);  // 20 ms and a decode row leave room for 79
  EXPECT_LE(steps, 900 / 64 + 4);
  f.Finish();
  EXPECT_EQ(f.recorder.Of(chatting).tokens, OutputAlone(chat));
  EXPECT_EQ(f.recorder.Of(prompt).tokens, OutputAlone(lengthy));
}

}  // namespace
}  // namespace millrace
