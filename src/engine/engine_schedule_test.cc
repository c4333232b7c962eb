// Deadlines, priorities, fairness and swapping as a user of the engine meets them.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

// An engine whose step takes a millisecond per row, by a clock of its own.
class ScheduleTest : public ::testing::Test {
 protected:
  void Start(int32_t max_running, int32_t blocks = 64, std::optional<KvStore> swap = std::nullopt) {
    EngineConfig config;
    config.scheduler.max_running = max_running;
    auto model = std::make_unique<FakeModel>(kTestVocab);
    model->on_batch = [this](const Batch& batch) {
      for (const BatchSequence& s : batch.sequences) {
        time_.Advance(milliseconds(s.tokens.size()));
      }
    };
    engine_ = std::make_unique<Engine>(config, std::move(model), MakeKv(blocks), time_.clock(),
                                       nullptr, std::move(swap));
  }
  RequestId Submit(Request request) {
    const auto id = engine_->Submit(std::move(request), [this](const Event& event) {
      recorder_.Record(event);
      if (event.finish) order_.push_back(event.request);
    });
    EXPECT_TRUE(id.ok());
    return id.value();
  }
  void Finish() {
    while (engine_->Step()) {
    }
  }
  FinishInfo FinishOf(RequestId id) { return recorder_.Of(id).finishes.at(0); }

  ManualClock time_;
  Recorder recorder_;
  std::unique_ptr<Engine> engine_;
  std::vector<RequestId> order_;  // in which requests ended
};

TEST_F(ScheduleTest, AWaitingRequestPastItsDeadlineCostsNothing) {
  Start(1);
  const RequestId first = Submit(MakeRequest(10, 30, 1));
  Request limited = MakeRequest(10, 30, 2);
  limited.time_limit = milliseconds(20);
  const RequestId late = Submit(limited);
  Finish();
  EXPECT_EQ(FinishOf(first).reason, FinishReason::kLength);
  EXPECT_EQ(FinishOf(late).reason, FinishReason::kDeadline);
  EXPECT_EQ(FinishOf(late).timings.computed_tokens, 0);
  EXPECT_NE(FinishOf(late).message.find("The deadline of 20 ms"), std::string::npos);
  EXPECT_EQ(engine_->stats().expired, 1);
}

TEST_F(ScheduleTest, WhatCannotBeMetEndsBeforeTheDeadline) {
  Start(1);
  Submit(MakeRequest(2, 3, 1));
  Finish();  // what a decode step takes is known
  Submit(MakeRequest(100, 60, 1));
  engine_->Step();  // 100 rows in 100 ms
  Request limited = MakeRequest(80, 5, 2);
  limited.time_limit = milliseconds(100);
  const RequestId late = Submit(limited);
  const TimePoint begun = time_.clock().Now();
  while (recorder_.Of(late).finishes.empty()) engine_->Step();
  EXPECT_EQ(FinishOf(late).reason, FinishReason::kDeadline);
  EXPECT_LE(time_.clock().Now() - begun, milliseconds(25));  // not after all of the 100
  EXPECT_EQ(FinishOf(late).timings.computed_tokens, 0);
  Finish();
}

TEST_F(ScheduleTest, ARunningRequestEndsAtItsDeadline) {
  Start(1);
  Request limited = MakeRequest(10, 100, 2);
  limited.time_limit = milliseconds(30);
  const RequestId id = Submit(limited);
  Finish();
  EXPECT_EQ(FinishOf(id).reason, FinishReason::kDeadline);
  EXPECT_GT(recorder_.Of(id).tokens.size(), 10u);
  EXPECT_LT(recorder_.Of(id).tokens.size(), 30u);
  EXPECT_EQ(engine_->stats().blocks_held, 0);
}

// Forks that wait as one, and that have parted: each of them ends once.
TEST_F(ScheduleTest, ForksEndAtTheirDeadlineWhereverTheyAre) {
  for (const bool wait : {true, false}) {
    Start(wait ? 1 : 3);
    const RequestId other = Submit(MakeRequest(10, 30, 1));
    engine_->Step();
    Request limited = MakeRequest(30, 100, 2);
    limited.time_limit = milliseconds(wait ? 20 : 80);
    const std::vector<Engine::Fork> forks(2, {limited.sampling, recorder_.Sink()});
    const std::vector<RequestId> ids = engine_->SubmitForks(limited, forks).value();
    Finish();
    EXPECT_EQ(FinishOf(other).reason, FinishReason::kLength);
    for (const RequestId id : ids) {
      ASSERT_EQ(recorder_.Of(id).finishes.size(), 1u) << wait;
      EXPECT_EQ(FinishOf(id).reason, FinishReason::kDeadline) << wait;
      const size_t tokens = recorder_.Of(id).tokens.size();
      EXPECT_TRUE(wait ? tokens == 0 : tokens > 5) << tokens;
    }
    EXPECT_EQ(engine_->stats().expired, 2) << wait;
    EXPECT_EQ(engine_->stats().blocks_held, 0);
    recorder_.Clear();  // every engine counts its requests from 0
  }
}

TEST_F(ScheduleTest, ADeadlineThatIsKeptChangesNothing) {
  Start(1);
  Request limited = MakeRequest(10, 10, 2);
  limited.time_limit = milliseconds(1000);
  const RequestId id = Submit(limited);
  Finish();
  EXPECT_EQ(FinishOf(id).reason, FinishReason::kLength);
  EXPECT_EQ(recorder_.Of(id).tokens, OutputAlone(limited));
}

TEST_F(ScheduleTest, HigherPrioritiesEndFirst) {
  Start(1);
  std::vector<RequestId> ids;
  for (const int32_t priority : {0, -1, 0, 1}) {
    Request request = MakeRequest(5, 3, 1);
    request.priority = priority;
    ids.push_back(Submit(request));
  }
  Finish();
  EXPECT_EQ(order_, (std::vector{ids[3], ids[0], ids[2], ids[1]}));
}

TEST_F(ScheduleTest, AFloodOfOneClientDoesNotHoldUpAnother) {
  Start(1);
  for (int i = 0; i < 20; ++i) {
    Request request = MakeRequest(5, 3, 1);
    request.client = "flood";
    Submit(request);
  }
  engine_->Step();
  Request request = MakeRequest(5, 3, 2);
  request.client = "other";
  const RequestId id = Submit(request);
  Finish();
  const auto place = std::find(order_.begin(), order_.end(), id) - order_.begin();
  EXPECT_LE(place, 2);
}

TEST_F(ScheduleTest, APreemptedRequestComesBackFromTheSwapSpace) {
  Start(4, 8, MakeKv(16));
  std::vector<Request> requests;
  std::vector<RequestId> ids;
  for (uint64_t i = 0; i < 4; ++i) {
    requests.push_back(MakeRequest(20, 90, i));
    requests.back().prefix_cache = false;
    ids.push_back(Submit(requests.back()));
  }
  Finish();
  int32_t computed = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(recorder_.Of(ids[i]).tokens, OutputAlone(requests[i]));
    computed += FinishOf(ids[i]).timings.computed_tokens;
  }
  const EngineStats stats = engine_->stats();
  EXPECT_GT(stats.preemptions, 0);
  EXPECT_GT(stats.swapped_out, 0);
  EXPECT_EQ(stats.swapped_in, stats.swapped_out);
  EXPECT_EQ(stats.swap_blocks_held, 0);
  EXPECT_EQ(computed, 4 * (20 + 90 - 1));  // nothing was computed twice
}

}  // namespace
}  // namespace millrace
