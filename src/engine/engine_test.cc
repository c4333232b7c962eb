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

TEST(EngineTest, GeneratesWhatTheDefinitionSays) {
  EngineFixture f;
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
  EngineFixture f;
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
  EngineFixture f({.context_length = 50});
  const RequestId id = f.Submit(MakeRequest(45, 1000));
  const RequestId brim = f.Submit(MakeRequest(49, std::numeric_limits<int32_t>::max()));
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens.size(), 5u);
  EXPECT_EQ(f.recorder.Of(id).finishes.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(f.recorder.Of(brim).tokens.size(), 1u);
}

TEST(EngineTest, MaxTokensIsCutToTheKvMemory) {
  EngineFixture f({}, 2);
  const RequestId id = f.Submit(MakeRequest(60, 1000));
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens.size(), 4u);
}

TEST(EngineTest, TheModelsContextBindsToo) {
  Engine engine({.context_length = 4096}, std::make_unique<FakeModel>(kTestVocab, 100), MakeKv(64));
  EXPECT_EQ(engine.config().context_length, 100);
}

TEST(EngineTest, RefusesWhatCannotBeServed) {
  EngineFixture f({.context_length = 100}, 64);
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
  EngineFixture small({.context_length = 100}, 2);
  const Error no_memory = small.Refusal(MakeRequest(64, 4));
  EXPECT_EQ(no_memory.kind, ErrorKind::kTooLarge);
  EXPECT_THAT(no_memory.message, HasSubstr("KV memory"));

  EXPECT_FALSE(f.engine->Step());
  EXPECT_EQ(f.recorder.requests(), 0u);
  EXPECT_EQ(f.engine->stats().finished, 0);
}

TEST(EngineTest, TheQueueIsBoundedByCount) {
  EngineFixture f({.scheduler = {.max_running = 2}, .max_queued_requests = 3});
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
  EngineFixture f({.max_queued_tokens = 20});
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
  EngineFixture f;
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
  EngineFixture f({.scheduler = {.max_step_tokens = 16, .max_chunk = 16}});
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
  EngineFixture f;
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
  EngineFixture f({}, 5);
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
  EngineFixture f;
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
  EngineFixture f;
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
  EngineFixture f;
  const RequestId id = f.Submit(MakeRequest(4, 10));
  f.engine->Drain();
  EXPECT_EQ(f.Refusal(MakeRequest(4, 10)).kind, ErrorKind::kExhausted);
  f.Finish();
  EXPECT_EQ(f.recorder.Of(id).tokens.size(), 10u);
  EXPECT_EQ(f.recorder.Of(id).finishes.at(0).reason, FinishReason::kLength);
}

TEST(EngineTest, StopCancelsWhatRunsWaitsAndIsInTheInbox) {
  EngineFixture f({.scheduler = {.max_running = 1}});
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
  EngineFixture f;
  const RequestId running = f.Submit(MakeRequest(4, 50));
  f.engine->Step();
  const RequestId queued = f.Submit(MakeRequest(4, 50));
  f.engine.reset();
  EXPECT_EQ(f.recorder.Of(running).finishes.size(), 1u);
  EXPECT_EQ(f.recorder.Of(queued).finishes.size(), 1u);
}

// Every block has a twin in the draft model's store: both are planned, and both are counted.
TEST(EngineTest, TheDraftsMemoryIsCounted) {
  EngineFixture plain;
  auto draft = std::make_unique<DraftModel>(DraftModel{
      .model = std::make_unique<FakeModel>(kTestVocab), .kv = MakeKv(64), .context_length = 1000});
  EngineConfig config;
  config.speculation.mode = Speculation::kDraft;
  const Engine engine(config, std::make_unique<FakeModel>(kTestVocab), MakeKv(64), Clock(), nullptr,
                      std::nullopt, std::move(draft));
  EXPECT_GT(plain.engine->stats().kv_bytes, 0);
  EXPECT_EQ(engine.stats().kv_bytes, 2 * plain.engine->stats().kv_bytes);
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
