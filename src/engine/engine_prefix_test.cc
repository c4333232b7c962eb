// The prefix cache as a user of the engine meets it. Rows that go through the model are counted, so
// that cached_tokens is proved and not just reported.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

class EnginePrefixTest : public testing::Test {
 protected:
  void Make(EngineConfig config = {}, int32_t blocks = 64) {
    auto owned = std::make_unique<FakeModel>(kTestVocab);
    model_ = owned.get();
    model_->on_batch = [this](const Batch& batch) {
      for (const BatchSequence& sequence : batch.sequences) {
        rows_ += static_cast<int64_t>(sequence.tokens.size());
      }
    };
    engine_ = std::make_unique<Engine>(config, std::move(owned), MakeKv(blocks));
  }
  RequestId Submit(const Request& request) {
    auto id = engine_->Submit(request, recorder_.Sink());
    CHECK(id.ok());
    return *id;
  }
  void Finish() {
    while (engine_->Step()) {
    }
  }
  RequestTimings TimingsOf(RequestId id) { return recorder_.Of(id).finishes.at(0).timings; }
  // Serves a request alone; returns its timings, after checking them against the model's rows.
  RequestTimings Serve(const Request& request) {
    const int64_t before = rows_;
    const RequestId id = Submit(request);
    Finish();
    EXPECT_EQ(recorder_.Of(id).tokens, OutputAlone(request));
    const RequestTimings timings = TimingsOf(id);
    EXPECT_EQ(rows_ - before, timings.computed_tokens);
    EXPECT_EQ(timings.computed_tokens,
              timings.prompt_tokens - timings.cached_tokens + timings.output_tokens - 1);
    return timings;
  }
  // The first `common` tokens are those of every request with the same `text`.
  static Request Beginning(int32_t common, int32_t own, uint64_t salt, uint64_t text = 900) {
    Request request = MakeRequest(common + own, 5, salt);
    const auto shared = MakePrompt(common, text);
    std::copy(shared.begin(), shared.end(), request.prompt.begin());
    return request;
  }

  Recorder recorder_;
  FakeModel* model_ = nullptr;
  std::unique_ptr<Engine> engine_;
  int64_t rows_ = 0;
};

TEST_F(EnginePrefixTest, CachedTokensAreThoseThatWereNotComputed) {
  Make();
  EXPECT_EQ(Serve(Beginning(200, 30, 1)).cached_tokens, 0);
  EXPECT_EQ(Serve(Beginning(200, 30, 2)).cached_tokens, 200);
  EXPECT_EQ(Serve(Beginning(200, 30, 1)).cached_tokens, 229);  // all but the last
  EXPECT_EQ(Serve(Beginning(70, 100, 3)).cached_tokens, 70);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.prefix_hits, 200 + 229 + 70);
  EXPECT_EQ(stats.prefix_queries, 3 * 230 + 170);
  EXPECT_EQ(stats.blocks_held, 0);
  EXPECT_GT(stats.blocks_cached, 0);
  EXPECT_EQ(rows_, stats.tokens_computed);
}

TEST_F(EnginePrefixTest, EveryLengthOfSharedBeginning) {
  Make({}, 256);
  Serve(Beginning(130, 0, 1));
  for (int32_t common = 1; common < 130; ++common) {
    Request request = Beginning(common, 10, static_cast<uint64_t>(common) + 100);
    const TokenId original = Beginning(130, 0, 1).prompt[static_cast<size_t>(common)];
    request.prompt[static_cast<size_t>(common)] = TokenId((original.value + 1) % kTestVocab);
    EXPECT_GE(Serve(request).cached_tokens, common);
  }
}

TEST_F(EnginePrefixTest, TheAnswerIsReusedByTheNextTurn) {
  Make();
  Request turn = MakeRequest(50, 40, 1);
  const RequestId first = Submit(turn);
  Finish();
  for (TokenId token : recorder_.Of(first).tokens) turn.prompt.push_back(token);
  for (TokenId token : MakePrompt(20, 77)) turn.prompt.push_back(token);
  EXPECT_EQ(Serve(turn).cached_tokens, 50 + 40 - 1);  // the last of the answer was not computed
}

TEST_F(EnginePrefixTest, EightThatArriveTogetherComputeThePrefixOnce) {
  for (const int32_t chunk : {16, 64, 512}) {
    rows_ = 0;
    Make({.scheduler = {.max_chunk = chunk}}, 512);
    std::vector<RequestId> ids;
    std::vector<Request> requests;
    for (uint64_t i = 0; i < 8; ++i) {
      requests.push_back(Beginning(2000, 30, i));
      ids.push_back(Submit(requests.back()));
    }
    Finish();
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(recorder_.Of(ids[i]).tokens, OutputAlone(requests[i]));
      EXPECT_EQ(TimingsOf(ids[i]).cached_tokens, i == 0 ? 0 : 2000);
    }
    EXPECT_EQ(rows_, 2000 + 8 * (30 + 4));
    recorder_.Clear();
  }
}

TEST_F(EnginePrefixTest, ForksOfAPromptComputeItOnce) {
  Make();
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Request request = MakeRequest(110, 8, 5);
    request.sampling.temperature = 1.0f;
    request.sampling.seed = seed;
    Submit(request);
  }
  engine_->Step();
  engine_->Step();
  EXPECT_EQ(engine_->stats().running, 4);
  // Three whole blocks shared, and each its own fourth.
  EXPECT_EQ(engine_->stats().blocks_held, 3 + 4);
  Finish();
  EXPECT_EQ(rows_, 110 + 3 + 4 * 7);
}

TEST_F(EnginePrefixTest, TheSwitchTurnsItOff) {
  Make({.prefix_cache = false});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Serve(Beginning(200, 30, 1)).cached_tokens, 0);
  EXPECT_EQ(engine_->stats().blocks_cached, 0);
  EXPECT_EQ(engine_->stats().prefix_queries, 0);
}

TEST_F(EnginePrefixTest, ARequestMayStayOut) {
  Make();
  Request out = Beginning(200, 30, 1);
  out.prefix_cache = false;
  Serve(out);
  EXPECT_EQ(engine_->stats().blocks_cached, 0);
  EXPECT_EQ(Serve(Beginning(200, 30, 1)).cached_tokens, 0);
  EXPECT_EQ(Serve(out).cached_tokens, 0);
}

TEST_F(EnginePrefixTest, NamespacesAreApart) {
  Make();
  Request request = Beginning(200, 30, 1);
  request.cache_space = "alice";
  Serve(request);
  request.cache_space = "bob";
  EXPECT_EQ(Serve(request).cached_tokens, 0);
  request.cache_space = "";
  EXPECT_EQ(Serve(request).cached_tokens, 0);
  request.cache_space = "alice";
  EXPECT_EQ(Serve(request).cached_tokens, 229);
}

TEST_F(EnginePrefixTest, PinnedPromptsOutliveOthers) {
  Make({}, 32);
  Request kept = Beginning(96, 1, 1);
  kept.pin = PinAction::kPin;
  Serve(kept);
  EXPECT_EQ(engine_->stats().blocks_pinned, 3);
  for (uint64_t i = 0; i < 10; ++i) Serve(MakeRequest(700, 4, 100 + i));
  EXPECT_GT(engine_->stats().prefix_evictions, 100);
  kept.pin = PinAction::kUnpin;
  EXPECT_EQ(Serve(kept).cached_tokens, 96);
  EXPECT_EQ(engine_->stats().blocks_pinned, 0);
  for (uint64_t i = 0; i < 2; ++i) Serve(MakeRequest(900, 4, 200 + i));
  EXPECT_EQ(Serve(kept).cached_tokens, 0);
}

TEST_F(EnginePrefixTest, CancelledRequestsLeaveWhatTheyComputed) {
  Make({.scheduler = {.max_chunk = 50}});
  const RequestId id = Submit(Beginning(200, 30, 1));
  engine_->Step();
  engine_->Step();
  engine_->Cancel(id);
  engine_->Step();
  EXPECT_EQ(engine_->stats().blocks_held, 0);
  EXPECT_EQ(Serve(Beginning(200, 30, 2)).cached_tokens, 100);
}

TEST_F(EnginePrefixTest, WhatAFailedStepComputedIsNotShared) {
  Make();
  model_->on_logits = [](std::span<float> logits) { logits[0] = std::nanf(""); };
  const RequestId id = Submit(Beginning(200, 30, 1));
  Finish();
  EXPECT_EQ(recorder_.Of(id).finishes.at(0).reason, FinishReason::kError);
  model_->on_logits = nullptr;
  EXPECT_EQ(engine_->stats().blocks_cached, 0);
  EXPECT_EQ(Serve(Beginning(200, 30, 1)).cached_tokens, 0);
}

}  // namespace
}  // namespace millrace
