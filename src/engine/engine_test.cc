#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

struct Fixture {
  explicit Fixture(EngineConfig config = {}, int32_t blocks = 64, Clock clock = Clock()) {
    auto owned = std::make_unique<FakeModel>(kTestVocab);
    model = owned.get();
    engine = std::make_unique<Engine>(config, std::move(owned), MakeKv(blocks), std::move(clock));
  }
  RequestId Submit(Request request) {
    auto id = engine->Submit(std::move(request), recorder.Sink());
    EXPECT_TRUE(id.ok()) << (id.ok() ? "" : id.error().message);
    return *id;
  }
  Error Refusal(Request request) {
    auto id = engine->Submit(std::move(request), recorder.Sink());
    EXPECT_FALSE(id.ok());
    return id.ok() ? Error{} : id.error();
  }
  int Finish(int limit = 100'000) {
    int steps = 1;
    while (engine->Step() && steps < limit) ++steps;
    EXPECT_LT(steps, limit);
    return steps;
  }

  Recorder recorder;
  FakeModel* model = nullptr;
  std::unique_ptr<Engine> engine;
};

TEST(EngineTest, GeneratesWhatTheDefinitionSays) {
  Fixture f;
  Request request = MakeRequest(5, 20);
  const auto expected = OutputAlone(request);
  const RequestId id = f.Submit(request);
  EXPECT_EQ(f.Finish(), 20);
  const Received received = f.recorder.Of(id);
  EXPECT_EQ(received.tokens, expected);
  ASSERT_EQ(received.finishes.size(), 1u);
  EXPECT_EQ(received.finishes[0].reason, FinishReason::kLength);
  EXPECT_EQ(received.finishes[0].timings.prompt_tokens, 5);
  EXPECT_EQ(received.finishes[0].timings.output_tokens, 20);
  EXPECT_EQ(received.finishes[0].timings.computed_tokens, 5 + 19);
  EXPECT_EQ(f.engine->stats().blocks_held, 0);
  EXPECT_EQ(f.engine->stats().tokens_generated, 20);
  EXPECT_EQ(f.engine->stats().tokens_computed, 24);
  EXPECT_EQ(f.engine->stats().finished, 1);
}

TEST(EngineTest, AStopTokenIsPartOfTheOutputAndEndsIt) {
  Fixture f;
  Request request = MakeRequest(9, 30);
  const auto whole = OutputAlone(request);
  request.stop_tokens = {whole[7]};
  const auto expected = OutputAlone(request);
  ASSERT_LE(expected.size(), 8u);
  const RequestId id = f.Submit(request);
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens, expected);
  EXPECT_EQ(f.recorder.Of(id).tokens.back(), whole[7]);
  EXPECT_EQ(f.recorder.Of(id).finishes.at(0).reason, FinishReason::kStop);
}

TEST(EngineTest, MaxTokensIsCutToTheContext) {
  Fixture f({.context_length = 50});
  const RequestId id = f.Submit(MakeRequest(45, 1000));
  const RequestId brim = f.Submit(MakeRequest(49, std::numeric_limits<int32_t>::max()));
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens.size(), 5u);
  EXPECT_EQ(f.recorder.Of(id).finishes.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(f.recorder.Of(brim).tokens.size(), 1u);
}

TEST(EngineTest, MaxTokensIsCutToTheKvMemory) {
  Fixture f({}, 2);
  const RequestId id = f.Submit(MakeRequest(60, 1000));
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens.size(), 4u);
}

TEST(EngineTest, TheModelsContextBindsToo) {
  Engine engine({.context_length = 4096}, std::make_unique<FakeModel>(kTestVocab, 100), MakeKv(64));
  EXPECT_EQ(engine.config().context_length, 100);
}

TEST(EngineTest, RefusesWhatCannotBeServed) {
  Fixture f({.context_length = 100}, 64);
  EXPECT_EQ(f.Refusal(MakeRequest(0, 1)).kind, ErrorKind::kInvalidArgument);
  EXPECT_EQ(f.Refusal(MakeRequest(3, 0)).kind, ErrorKind::kInvalidArgument);
  for (int32_t id : {-1, kTestVocab}) {
    Request request = MakeRequest(3, 4);
    request.prompt[1] = TokenId(id);
    EXPECT_THAT(f.Refusal(request).message, HasSubstr("vocabulary"));
  }
  Request hot = MakeRequest(3, 4);
  hot.sampling.temperature = 3.0f;
  EXPECT_THAT(f.Refusal(hot).message, HasSubstr("temperature"));

  const Error long_prompt = f.Refusal(MakeRequest(100, 4));
  EXPECT_EQ(long_prompt.kind, ErrorKind::kTooLarge);
  EXPECT_THAT(long_prompt.message,
              HasSubstr("This model's maximum context length is 100 tokens, but the prompt holds "
                        "100 tokens"));
  Fixture small({.context_length = 100}, 2);
  const Error no_memory = small.Refusal(MakeRequest(64, 4));
  EXPECT_EQ(no_memory.kind, ErrorKind::kTooLarge);
  EXPECT_THAT(no_memory.message, HasSubstr("KV memory"));

  EXPECT_FALSE(f.engine->Step());
  EXPECT_EQ(f.recorder.requests(), 0u);
  EXPECT_EQ(f.engine->stats().finished, 0);
}

TEST(EngineTest, TheQueueIsBoundedByCount) {
  Fixture f({.scheduler = {.max_running = 2}, .max_queued_requests = 3});
  for (int i = 0; i < 3; ++i) f.Submit(MakeRequest(4, 8));
  EXPECT_EQ(f.Refusal(MakeRequest(4, 8)).kind, ErrorKind::kExhausted);
  f.engine->Step();  // two of three run now
  EXPECT_EQ(f.engine->stats().running, 2);
  EXPECT_EQ(f.engine->stats().waiting, 1);
  for (int i = 0; i < 2; ++i) f.Submit(MakeRequest(4, 8));
  EXPECT_EQ(f.Refusal(MakeRequest(4, 8)).kind, ErrorKind::kExhausted);
  EXPECT_EQ(f.engine->stats().waiting, 3);
  f.Finish();
  EXPECT_EQ(f.engine->stats().finished, 5);
}

TEST(EngineTest, TheQueueIsBoundedByTokens) {
  Fixture f({.max_queued_tokens = 20});
  const RequestId alone = f.Submit(MakeRequest(50, 2));  // over the bound, but nothing waits
  EXPECT_EQ(f.Refusal(MakeRequest(1, 2)).kind, ErrorKind::kExhausted);
  f.engine->Cancel(alone);
  f.engine->Step();
  f.Submit(MakeRequest(10, 2));
  f.Submit(MakeRequest(10, 2));
  EXPECT_EQ(f.Refusal(MakeRequest(1, 2)).kind, ErrorKind::kExhausted);
  f.Finish();
  f.Submit(MakeRequest(20, 2));
  f.Finish();
}

TEST(EngineTest, CancelTakesEffectBeforeTheNextStepAndFreesTheBlocks) {
  Fixture f;
  const RequestId decoding = f.Submit(MakeRequest(40, 100, 1));
  f.engine->Step();
  f.engine->Step();
  EXPECT_GT(f.engine->stats().blocks_held, 0);
  const size_t before = f.recorder.Of(decoding).tokens.size();
  f.engine->Cancel(decoding, FinishReason::kStop);
  EXPECT_FALSE(f.engine->Step());
  EXPECT_EQ(f.engine->stats().blocks_held, 0);
  EXPECT_EQ(f.engine->stats().running, 0);
  EXPECT_EQ(f.recorder.Of(decoding).tokens.size(), before);
  ASSERT_EQ(f.recorder.Of(decoding).finishes.size(), 1u);
  EXPECT_EQ(f.recorder.Of(decoding).finishes[0].reason, FinishReason::kStop);
  // Twice, unknown, finished: nothing happens.
  f.engine->Cancel(decoding);
  f.engine->Cancel(RequestId(12345));
  f.engine->Cancel(RequestId(-1));
  f.engine->Step();
  EXPECT_EQ(f.recorder.Of(decoding).finishes.size(), 1u);
}

TEST(EngineTest, CancelInPrefillAndInTheInbox) {
  Fixture f({.scheduler = {.max_step_tokens = 16, .max_chunk = 16}});
  const RequestId prefilling = f.Submit(MakeRequest(200, 100));
  f.engine->Step();
  EXPECT_TRUE(f.recorder.Of(prefilling).tokens.empty());
  const RequestId queued = f.Submit(MakeRequest(200, 100));
  f.engine->Cancel(queued);
  f.engine->Cancel(prefilling);
  EXPECT_FALSE(f.engine->Step());
  for (RequestId id : {prefilling, queued}) {
    ASSERT_EQ(f.recorder.Of(id).finishes.size(), 1u);
    EXPECT_EQ(f.recorder.Of(id).finishes[0].reason, FinishReason::kCancelled);
    EXPECT_TRUE(f.recorder.Of(id).tokens.empty());
  }
  EXPECT_EQ(f.engine->stats().blocks_held, 0);
  EXPECT_EQ(f.engine->stats().waiting, 0);
}

TEST(EngineTest, TheSinkMayCancel) {
  Fixture f;
  Recorder& recorder = f.recorder;
  Engine& engine = *f.engine;
  const auto id = engine.Submit(MakeRequest(4, 100), [&](const Event& event) {
    recorder.Record(event);
    if (recorder.Of(event.request).tokens.size() == 3) {
      engine.Cancel(event.request, FinishReason::kStop);
    }
  });
  f.Finish();
  EXPECT_EQ(f.recorder.Of(*id).tokens.size(), 3u);
  EXPECT_EQ(f.recorder.Of(*id).finishes.at(0).reason, FinishReason::kStop);
}

TEST(EngineTest, PreemptionPreservesTheOutput) {
  // Two sequences that need 4 blocks each in a pool of 5: the younger has to give way.
  Fixture f({}, 5);
  const Request first = MakeRequest(20, 100, 1);
  const Request second = MakeRequest(20, 100, 2);
  const RequestId first_id = f.Submit(first);
  const RequestId second_id = f.Submit(second);
  f.Finish();
  EXPECT_EQ(f.recorder.Of(first_id).tokens, OutputAlone(first));
  EXPECT_EQ(f.recorder.Of(second_id).tokens, OutputAlone(second));
  EXPECT_GT(f.engine->stats().preemptions, 0);
  const RequestTimings old_one = f.recorder.Of(first_id).finishes.at(0).timings;
  const RequestTimings young = f.recorder.Of(second_id).finishes.at(0).timings;
  EXPECT_EQ(old_one.preemptions, 0);
  EXPECT_EQ(old_one.computed_tokens, 119);
  EXPECT_EQ(young.preemptions, f.engine->stats().preemptions);
  EXPECT_GT(young.computed_tokens, 119);
}

TEST(EngineTest, NanEndsTheRequestNotTheEngine) {
  Fixture f;
  const RequestId sick = f.Submit(MakeRequest(4, 10, 1));
  const Request healthy = MakeRequest(4, 10, 2);
  const RequestId well = f.Submit(healthy);
  int forwards = 0;
  f.model->on_logits = [&](std::span<float> logits) {
    if (++forwards == 3) logits[5] = std::nanf("");  // in the first row
  };
  f.Finish();
  const Received received = f.recorder.Of(sick);
  EXPECT_EQ(received.tokens.size(), 2u);
  ASSERT_EQ(received.finishes.size(), 1u);
  EXPECT_EQ(received.finishes[0].reason, FinishReason::kError);
  EXPECT_THAT(received.finishes[0].message, HasSubstr("NaN"));
  EXPECT_EQ(f.recorder.Of(well).tokens, OutputAlone(healthy));
  EXPECT_EQ(f.engine->stats().blocks_held, 0);
}

TEST(EngineTest, AThrowingSinkCancelsItsRequestOnly) {
  Fixture f;
  int calls = 0;
  std::vector<FinishInfo> finishes;
  const auto bad = f.engine->Submit(MakeRequest(4, 10, 1), [&](const Event& event) {
    ++calls;
    if (event.finish) finishes.push_back(*event.finish);
    throw std::runtime_error("broken pipe");
  });
  ASSERT_TRUE(bad.ok());
  const auto odd = f.engine->Submit(MakeRequest(4, 10, 1), [&](const Event&) { throw 1; });
  ASSERT_TRUE(odd.ok());
  ASSERT_TRUE(f.engine->Submit(MakeRequest(4, 10, 1), EventSink()).ok());
  const Request healthy = MakeRequest(4, 10, 2);
  const RequestId well = f.Submit(healthy);
  f.Finish();
  EXPECT_EQ(calls, 2);  // a token, then the finish
  ASSERT_EQ(finishes.size(), 1u);
  EXPECT_EQ(finishes[0].reason, FinishReason::kCancelled);
  EXPECT_THAT(finishes[0].message, HasSubstr("broken pipe"));
  EXPECT_EQ(f.recorder.Of(well).tokens, OutputAlone(healthy));
  EXPECT_EQ(f.engine->stats().finished, 4);
}

TEST(EngineTest, DrainRefusesNewAndFinishesOld) {
  Fixture f;
  const RequestId id = f.Submit(MakeRequest(4, 10));
  f.engine->Drain();
  EXPECT_EQ(f.Refusal(MakeRequest(4, 10)).kind, ErrorKind::kExhausted);
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens.size(), 10u);
  EXPECT_EQ(f.recorder.Of(id).finishes.at(0).reason, FinishReason::kLength);
}

TEST(EngineTest, StopCancelsWhatRunsWaitsAndIsInTheInbox) {
  Fixture f({.scheduler = {.max_running = 1}});
  std::vector<RequestId> ids = {f.Submit(MakeRequest(4, 50)), f.Submit(MakeRequest(4, 50))};
  f.engine->Step();
  ids.push_back(f.Submit(MakeRequest(4, 50)));
  f.engine->Stop();
  EXPECT_EQ(f.Refusal(MakeRequest(4, 10)).kind, ErrorKind::kExhausted);
  EXPECT_FALSE(f.engine->Step());
  for (RequestId id : ids) {
    ASSERT_EQ(f.recorder.Of(id).finishes.size(), 1u);
    EXPECT_EQ(f.recorder.Of(id).finishes[0].reason, FinishReason::kCancelled);
  }
  EXPECT_EQ(f.engine->stats().blocks_held, 0);
  EXPECT_EQ(f.engine->stats().waiting, 0);
  EXPECT_EQ(f.engine->stats().finished, 3);
}

TEST(EngineTest, TheDestructorFinishesWhatIsLeft) {
  Fixture f;
  const RequestId running = f.Submit(MakeRequest(4, 50));
  f.engine->Step();
  const RequestId queued = f.Submit(MakeRequest(4, 50));
  f.engine.reset();
  EXPECT_EQ(f.recorder.Of(running).finishes.size(), 1u);
  EXPECT_EQ(f.recorder.Of(queued).finishes.size(), 1u);
}

TEST(EngineTest, TimingsAddUp) {
  ManualClock time;
  Fixture f({.scheduler = {.max_running = 1, .max_step_tokens = 8, .max_chunk = 8}}, 64,
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

TEST(EngineTest, AQueuedRequestThatIsCancelledWasOnlyQueued) {
  ManualClock time;
  Fixture f({}, 64, time.clock());
  const RequestId id = f.Submit(MakeRequest(20, 5));
  time.Advance(Duration(70));
  f.engine->Cancel(id);
  f.engine->Step();
  const RequestTimings timings = f.recorder.Of(id).finishes.at(0).timings;
  EXPECT_EQ(timings.queued, Duration(70));
  EXPECT_EQ(timings.prefill + timings.decode, Duration(0));
}

TEST(EngineTest, ALongPromptDoesNotStallADecodingRequest) {
  Fixture f({.scheduler = {.max_step_tokens = 16, .max_chunk = 8}});
  const RequestId chatting = f.Submit(MakeRequest(4, 50));
  f.engine->Step();
  f.Submit(MakeRequest(500, 1));
  for (size_t step = 1; step <= 20; ++step) {
    EXPECT_EQ(f.recorder.Of(chatting).tokens.size(), step);
    f.engine->Step();
  }
}

TEST(EngineTest, ChunksKeepTheIntervalAsMeasured) {
  ManualClock time;
  Fixture f({.scheduler = {.target_interval = std::chrono::milliseconds(100)}}, 64, time.clock());
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

TEST(EngineTest, NamesOfReasons) {
  EXPECT_EQ(NameOf(FinishReason::kStop), "stop");
  EXPECT_EQ(NameOf(FinishReason::kLength), "length");
  EXPECT_EQ(NameOf(FinishReason::kCancelled), "cancelled");
  EXPECT_EQ(NameOf(FinishReason::kError), "error");
}

TEST(EngineTest, ConfigIsChecked) {
  EXPECT_TRUE(Validate(EngineConfig{}).ok());
  EXPECT_FALSE(Validate(EngineConfig{.scheduler = {.max_running = 0}}).ok());
  EXPECT_FALSE(Validate(EngineConfig{.scheduler = {.max_step_tokens = -1}}).ok());
  EXPECT_FALSE(Validate(EngineConfig{.scheduler = {.max_chunk = 0}}).ok());
  EXPECT_FALSE(Validate(EngineConfig{.context_length = 1}).ok());
  EXPECT_FALSE(Validate(EngineConfig{.max_queued_requests = 0}).ok());
  EXPECT_FALSE(Validate(EngineConfig{.max_queued_tokens = 0}).ok());
}

}  // namespace
}  // namespace millrace
