#include "embedding/embedding_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "embedding/embedding_test_util.h"

namespace millrace {
namespace {

using testing::HasSubstr;

struct ServiceFixture {
  explicit ServiceFixture(int64_t max_queued_tokens = 1'000'000) : m(LoadTestModel({})) {
    service = std::make_unique<EmbeddingService>(std::move(m.model), max_queued_tokens);
  }
  TestModel m;
  std::unique_ptr<EmbeddingService> service;
};

// Holds the service's thread, in the answer to a job of its own, until `go` is set.
struct HeldService {
  explicit HeldService(ServiceFixture& f) {
    EmbeddingJob blocking;
    blocking.texts = {f.service->model().Encode("a")};
    blocking.done = [this](auto) {
      entered.set_value();
      gate.wait();
    };
    EXPECT_TRUE(f.service->Submit(std::move(blocking), "input").ok());
    entered.get_future().wait();
  }
  std::promise<void> entered, go;
  std::shared_future<void> gate = go.get_future().share();
};

std::string Words(size_t i) { return std::string(1 + i % 40, static_cast<char>('a' + i % 26)); }

TEST(EmbeddingService, ManyRequestsAtOnceGetWhatEachWouldGetAlone) {
  ServiceFixture f;
  const TestModel alone = LoadTestModel({}, 1);
  constexpr size_t kClients = 6;
  std::vector<std::vector<float>> answers(kClients);
  std::vector<std::thread> clients;
  for (size_t c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      std::vector<EmbeddingText> texts;
      for (size_t i = 0; i < 1 + 30 * c; ++i)
        texts.push_back(f.service->model().Encode(Words(i + c)));
      answers[c] = f.service->Compute(std::move(texts), "input").value();
    });
  }
  for (std::thread& t : clients) t.join();
  for (size_t c = 0; c < kClients; ++c) {
    std::vector<float> expected;
    for (size_t i = 0; i < 1 + 30 * c; ++i) {
      const auto one = ComputeOne(*alone.model, alone.model->Encode(Words(i + c)));
      expected.insert(expected.end(), one.begin(), one.end());
    }
    EXPECT_EQ(answers[c], expected);
  }
  const EmbeddingStats stats = f.service->stats();
  EXPECT_EQ(stats.texts, 6 + 30 * 15);
  EXPECT_EQ(stats.queued_tokens, 0);
  EXPECT_LT(stats.batches, stats.texts / 4);
}

// A batch takes a text of each job in turn: the small job, sent second, is answered first.
TEST(EmbeddingService, ASmallJobDoesNotWaitForALargeOne) {
  ServiceFixture f;
  std::vector<int> order;  // written on the service's thread only
  std::promise<void> both;
  const auto job = [&](size_t texts, int name) {
    EmbeddingJob j;
    j.texts.assign(texts, f.service->model().Encode(std::string(90, 'x')));
    j.done = [&, name](auto result) {
      EXPECT_TRUE(result.ok());
      order.push_back(name);
      if (order.size() == 2) both.set_value();
    };
    return j;
  };
  ASSERT_TRUE(f.service->Submit(job(400, 1), "input").ok());
  ASSERT_TRUE(f.service->Submit(job(1, 2), "input").ok());
  both.get_future().wait();
  EXPECT_THAT(order, testing::ElementsAre(2, 1));
}

TEST(EmbeddingService, RefusesWhatTheModelCannotReadAndNamesIt) {
  ServiceFixture f;
  std::vector<EmbeddingText> texts(3, f.service->model().Encode("a"));
  texts[2].tokens.assign(200, TokenId(4));
  const auto refused = f.service->Compute(texts, "input");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::kTooLarge);
  EXPECT_EQ(refused.error().message,
            "input[2] has 200 tokens, but the model reads at most 128: make it shorter.");
}

TEST(EmbeddingService, AFullQueueRefusesAndACancelledJobLeavesIt) {
  ServiceFixture f(50);
  HeldService held(f);
  std::promise<bool> cancelled_ok;
  EmbeddingJob cancelled;
  cancelled.texts.assign(10, f.service->model().Encode("abc"));  // 5 tokens each: alone, so taken
  cancelled.is_cancelled = [] { return true; };
  cancelled.done = [&](auto result) { cancelled_ok.set_value(!result.ok()); };
  ASSERT_TRUE(f.service->Submit(std::move(cancelled), "input").ok());
  EXPECT_EQ(f.service->stats().queued_tokens, 50);
  EmbeddingJob third;
  third.texts = {f.service->model().Encode("a")};
  third.done = [](auto) {};
  const Status full = f.service->Submit(third, "input");
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().kind, ErrorKind::kExhausted);
  held.go.set_value();
  EXPECT_TRUE(cancelled_ok.get_future().get());
  EXPECT_TRUE(f.service->Submit(third, "input").ok());
  EXPECT_EQ(f.service->Compute({f.service->model().Encode("b")}, "input").value().size(), 64u);
  EXPECT_EQ(f.service->stats().texts, 3);
}

TEST(EmbeddingService, WhatWaitsIsAnsweredAlsoWhenItStops) {
  ServiceFixture f;
  HeldService held(f);
  std::promise<std::string> message;
  EmbeddingJob waiting;
  waiting.texts = {f.service->model().Encode("b")};
  waiting.done = [&](auto result) { message.set_value(result.ok() ? "" : result.error().message); };
  ASSERT_TRUE(f.service->Submit(std::move(waiting), "input").ok());
  std::thread stop([&] { f.service.reset(); });
  held.go.set_value();
  stop.join();
  // Answered whichever came first: the destructor, or the thread's next batch.
  EXPECT_THAT(message.get_future().get(), testing::AnyOf("", HasSubstr("stopping")));
}

}  // namespace
}  // namespace millrace
