// Submit, Cancel and stats from many threads while Run works; also the test for ThreadSanitizer.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

std::unique_ptr<Engine> MakeEngine(int32_t blocks) {
  EngineConfig config;
  config.scheduler = {.max_running = 6, .max_step_tokens = 64, .max_chunk = 32};
  config.max_queued_requests = 20;
  return std::make_unique<Engine>(config, std::make_unique<FakeModel>(kTestVocab), MakeKv(blocks));
}

void WaitUntil(const std::function<bool()>& done) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit) << "waited in vain";
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(EngineThreadsTest, EightThreadsSubmitAndCancel) {
  constexpr int kThreads = 8;
  constexpr int kRequests = 40;
  Recorder recorder;
  auto engine = MakeEngine(12);
  std::thread runner([&] { engine->Run(); });
  struct Sent {
    RequestId id;
    Request request;
    bool cancelled;
  };
  std::vector<std::vector<Sent>> sent(kThreads);
  std::vector<std::thread> clients;
  for (int thread = 0; thread < kThreads; ++thread) {
    clients.emplace_back([&, thread] {
      CounterRng rng(static_cast<uint64_t>(thread), 2);
      for (int i = 0; i < kRequests; ++i) {
        const auto prompt = static_cast<int32_t>(rng.NextU64() % 60 + 1);
        const auto output = static_cast<int32_t>(rng.NextU64() % 60 + 1);
        Request request = MakeRequest(prompt, output, rng.NextU64());
        auto id = engine->Submit(request, recorder.Sink());
        while (!id.ok()) {  // the queue is full
          std::this_thread::yield();
          id = engine->Submit(request, recorder.Sink());
        }
        const bool cancel = rng.NextU64() % 4 == 0;
        if (cancel) engine->Cancel(*id);
        sent[static_cast<size_t>(thread)].push_back({*id, std::move(request), cancel});
        EXPECT_LE(engine->stats().blocks_held, 12);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  WaitUntil([&] { return engine->stats().finished == kThreads * kRequests; });
  engine->Stop();
  runner.join();
  EXPECT_EQ(recorder.requests(), static_cast<size_t>(kThreads * kRequests));
  for (const auto& of_thread : sent) {
    for (const Sent& one : of_thread) {
      const Received received = recorder.Of(one.id);
      ASSERT_EQ(received.finishes.size(), 1u);
      EXPECT_EQ(received.events_after_finish, 0);
      if (received.finishes[0].reason == FinishReason::kCancelled) {
        EXPECT_TRUE(one.cancelled);
      } else {
        EXPECT_EQ(received.tokens, OutputAlone(one.request));
      }
    }
  }
  EXPECT_EQ(engine->stats().blocks_held, 0);
}

TEST(EngineThreadsTest, StopWhileClientsSubmit) {
  for (int round = 0; round < 20; ++round) {
    Recorder recorder;
    auto engine = MakeEngine(12);
    std::thread runner([&] { engine->Run(); });
    std::atomic<size_t> accepted = 0;
    std::vector<std::thread> clients;
    for (int thread = 0; thread < 4; ++thread) {
      clients.emplace_back([&, thread] {
        for (int i = 0; i < 30; ++i) {
          const auto salt = static_cast<uint64_t>(thread * 100 + i);
          if (engine->Submit(MakeRequest(10, 300, salt), recorder.Sink()).ok()) ++accepted;
        }
      });
    }
    WaitUntil([&] { return engine->stats().steps >= round; });
    engine->Stop();
    runner.join();
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(recorder.requests(), accepted.load());
    for (size_t id = 0; id < accepted; ++id) {
      EXPECT_EQ(recorder.Of(RequestId(static_cast<int64_t>(id))).finishes.size(), 1u);
    }
    EXPECT_EQ(engine->stats().finished, static_cast<int64_t>(accepted.load()));
    EXPECT_EQ(engine->stats().waiting, 0);
  }
}

TEST(EngineThreadsTest, RunSleepsAndWakes) {
  Recorder recorder;
  auto engine = MakeEngine(12);
  std::thread runner([&] { engine->Run(); });
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const Request request = MakeRequest(10, 5, static_cast<uint64_t>(i));
    const auto id = engine->Submit(request, recorder.Sink());
    ASSERT_TRUE(id.ok());
    WaitUntil([&] { return recorder.Of(*id).finishes.size() == 1; });
    EXPECT_EQ(recorder.Of(*id).tokens, OutputAlone(request));
  }
  const int64_t steps = engine->stats().steps;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(engine->stats().steps, steps);
  engine->Stop();
  runner.join();
}

TEST(EngineThreadsTest, DrainUnderLoadLosesNothing) {
  Recorder recorder;
  auto engine = MakeEngine(12);
  std::thread runner([&] { engine->Run(); });
  std::atomic<int64_t> accepted = 0;
  std::thread client([&] {
    for (int i = 0; i < 200; ++i) {
      const auto salt = static_cast<uint64_t>(i);
      if (engine->Submit(MakeRequest(5, 20, salt), recorder.Sink()).ok()) ++accepted;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  engine->Drain();
  client.join();
  WaitUntil([&] {
    const EngineStats stats = engine->stats();
    return stats.running + stats.waiting == 0;
  });
  engine->Stop();
  runner.join();
  EXPECT_EQ(engine->stats().finished, accepted.load());
  for (int64_t id = 0; id < accepted; ++id) {
    EXPECT_EQ(recorder.Of(RequestId(id)).finishes.at(0).reason, FinishReason::kLength);
  }
}

}  // namespace
}  // namespace millrace
