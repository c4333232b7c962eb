// Several answers to one prompt. Rows that go through the model are counted.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

class EngineForksTest : public testing::Test {
 protected:
  void Make(EngineConfig config, int32_t blocks = 64) {
    auto model = std::make_unique<FakeModel>(kTestVocab);
    model->on_batch = [this](const Batch& batch) {
      for (const BatchSequence& sequence : batch.sequences) {
        rows_ += static_cast<int64_t>(sequence.tokens.size());
      }
    };
    model->on_logits = [this](std::span<float> logits) {
      if (spoil_) std::fill(logits.begin(), logits.end(), std::numeric_limits<float>::quiet_NaN());
    };
    engine_ = std::make_unique<Engine>(config, std::move(model), MakeKv(blocks));
    recorder_.Clear();  // every engine counts its requests from 0
  }

  // `n` answers that differ by their seed.
  void Submit(const Request& request, int n) {
    std::vector<Engine::Fork> forks;
    requests_.clear();
    for (int i = 0; i < n; ++i) {
      requests_.push_back(request);
      requests_.back().sampling.seed += static_cast<uint64_t>(i);
      forks.push_back({requests_.back().sampling, recorder_.Sink()});
    }
    ids_ = engine_->SubmitForks(request, std::move(forks)).value();
    ASSERT_EQ(ids_.size(), static_cast<size_t>(n));
  }
  void Finish() {
    while (engine_->Step()) {
    }
  }
  void ExpectAnswers() {
    for (size_t i = 0; i < ids_.size(); ++i) {
      EXPECT_EQ(recorder_.Of(ids_[i]).tokens, OutputAlone(requests_[i])) << i;
      EXPECT_EQ(recorder_.Of(ids_[i]).finishes.size(), 1u) << i;
    }
    EXPECT_EQ(engine_->stats().running + engine_->stats().waiting, 0);
  }
  static Request Warm(int32_t prompt, int32_t answer) {
    Request request = MakeRequest(prompt, answer, 5);
    request.sampling.temperature = 1.0f;
    return request;
  }

  Recorder recorder_;
  std::unique_ptr<Engine> engine_;
  std::vector<Request> requests_;
  std::vector<RequestId> ids_;
  int64_t rows_ = 0;
  bool spoil_ = false;
};

TEST_F(EngineForksTest, ThePromptIsComputedOnceWithTheCacheOnAndOff) {
  for (const bool cache : {true, false}) {
    for (const int32_t prompt : {1, 31, 32, 33, 110}) {
      Make({.prefix_cache = cache});
      rows_ = 0;
      Submit(Warm(prompt, 8), 8);
      Finish();
      EXPECT_EQ(rows_, prompt + 8 * 7) << prompt;
      ExpectAnswers();
      EXPECT_EQ(engine_->stats().tokens_computed, rows_);
      EXPECT_EQ(engine_->stats().blocks_held, 0);
    }
  }
}

TEST_F(EngineForksTest, WholeBlocksAreShared) {
  Make({.prefix_cache = false});
  Submit(Warm(110, 8), 4);
  EXPECT_EQ(engine_->stats().waiting, 4);
  engine_->Step();
  engine_->Step();
  EXPECT_EQ(engine_->stats().running, 4);
  EXPECT_EQ(engine_->stats().waiting, 0);
  EXPECT_EQ(engine_->stats().blocks_held, 3 + 4);
  Finish();
  ExpectAnswers();
}

TEST_F(EngineForksTest, MoreThanThereArePlacesStillComputeItOnce) {
  EngineConfig config{.prefix_cache = false};
  config.scheduler.max_running = 3;
  config.scheduler.max_chunk = 50;
  Make(config);
  Submit(Warm(100, 9), 8);
  Finish();
  EXPECT_EQ(rows_, 100 + 8 * 8);
  ExpectAnswers();
}

TEST_F(EngineForksTest, InLittleMemoryTheAnswersAreTheSame) {
  for (const bool cache : {true, false}) {
    EngineConfig config{.prefix_cache = cache};
    config.scheduler.max_running = 8;
    Make(config, 8);
    Submit(Warm(70, 120), 8);
    Finish();
    EXPECT_GT(engine_->stats().preemptions, 0);
    ExpectAnswers();
  }
}

TEST_F(EngineForksTest, WithStaticBatching) {
  EngineConfig config{.prefix_cache = false};
  config.scheduler.batching = Batching::kStatic;
  Make(config);
  Submit(Warm(70, 12), 4);
  Finish();
  EXPECT_EQ(rows_, 70 + 4 * 11);
  ExpectAnswers();
}

TEST_F(EngineForksTest, WithContiguousMemoryEachComputesItsOwn) {
  EngineConfig config{.prefix_cache = false};
  config.scheduler.layout = KvLayout::kContiguous;
  Make(config);
  Submit(Warm(70, 12), 4);
  Finish();
  EXPECT_EQ(rows_, 4 * (70 + 11));
  ExpectAnswers();
}

TEST_F(EngineForksTest, OneTokenEach) {
  Make({.prefix_cache = false});
  Submit(Warm(40, 1), 8);
  engine_->Step();
  EXPECT_EQ(rows_, 40);
  ExpectAnswers();
}

TEST_F(EngineForksTest, TheFirstMayLeaveWhileThePromptIsComputed) {
  EngineConfig config{.prefix_cache = false};
  config.scheduler.max_chunk = 16;
  Make(config);
  Submit(Warm(60, 5), 4);
  engine_->Step();
  engine_->Cancel(ids_[0]);
  engine_->Cancel(ids_[2]);
  engine_->Step();
  for (const size_t gone : {0u, 2u}) {
    ASSERT_EQ(recorder_.Of(ids_[gone]).finishes.size(), 1u);
    EXPECT_EQ(recorder_.Of(ids_[gone]).finishes[0].reason, FinishReason::kCancelled);
  }
  EXPECT_EQ(engine_->stats().running + engine_->stats().waiting, 2);
  Finish();
  for (const size_t left : {1u, 3u}) {
    EXPECT_EQ(recorder_.Of(ids_[left]).tokens, OutputAlone(requests_[left]));
  }
  EXPECT_EQ(rows_, 16 + 60 + 2 * 4);
  EXPECT_EQ(engine_->stats().finished, 4);
}

TEST_F(EngineForksTest, StopEndsThoseThatHaveNotBegun) {
  Make({.prefix_cache = false});
  Submit(Warm(60, 5), 4);
  engine_->Stop();
  engine_->Step();
  for (const RequestId id : ids_) {
    ASSERT_EQ(recorder_.Of(id).finishes.size(), 1u);
    EXPECT_EQ(recorder_.Of(id).finishes[0].reason, FinishReason::kCancelled);
  }
  EXPECT_EQ(engine_->stats().waiting, 0);
}

TEST_F(EngineForksTest, NanEndsAll) {
  Make({});
  spoil_ = true;
  Submit(Warm(60, 5), 3);
  Finish();
  for (const RequestId id : ids_) {
    EXPECT_EQ(recorder_.Of(id).finishes.at(0).reason, FinishReason::kError);
  }
  EXPECT_EQ(engine_->stats().blocks_held, 0);
}

TEST_F(EngineForksTest, AllAreAcceptedOrNone) {
  Make({.max_queued_requests = 4});
  const Request request = Warm(10, 5);
  const auto submit = [&](int n) {
    std::vector<Engine::Fork> forks;
    for (int i = 0; i < n; ++i) forks.push_back({request.sampling, recorder_.Sink()});
    return engine_->SubmitForks(request, std::move(forks));
  };
  EXPECT_TRUE(submit(3).ok());
  EXPECT_EQ(submit(2).error().kind, ErrorKind::kExhausted);
  EXPECT_EQ(engine_->stats().waiting, 3);
  EXPECT_TRUE(submit(1).ok());
  Finish();
  EXPECT_EQ(engine_->stats().finished, 4);
  std::vector<Engine::Fork> bad(2, {request.sampling, {}});
  bad[1].sampling.temperature = -1;
  EXPECT_FALSE(engine_->SubmitForks(request, std::move(bad)).ok());
}

}  // namespace
}  // namespace millrace
