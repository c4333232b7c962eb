// The client against a server made for the test: what is due when, what counts as latency, what as
// failure, and what the client itself costs.
#include "lab/replay.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include "http/server.h"
#include "lab/replay_metrics.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

std::string TextEvent(std::string_view text) {
  return fmt::format(
      R"({{"choices":[{{"index":0,"delta":{{"content":"{}"}},"finish_reason":null}}]}})", text);
}
constexpr char kFinish[] = R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})";
constexpr char kUsage[] =
    R"({"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4},"millrace":{"queued_ms":1.5,"drafted_tokens":2,"accepted_tokens":1}}})";

// Serves one request at a time, each for `service`, with three tokens; as a full server would, it
// keeps the others waiting.
class OneAtATime {
 public:
  explicit OneAtATime(milliseconds service) : service_(service), worker_([this] { Work(); }) {
    server_.emplace(HttpConfig{}, [this](HttpRequest request, Responder responder) {
      std::lock_guard lock(mutex_);
      bodies_.push_back(request.body);
      waiting_.push_back(responder);
    });
    EXPECT_TRUE(server_->Start().ok());
  }
  ~OneAtATime() {
    over_ = true;
    worker_.join();
    server_->Stop(milliseconds(100));
  }
  uint16_t port() const { return server_->port(); }
  std::vector<std::string> bodies() {
    std::lock_guard lock(mutex_);
    return bodies_;
  }

 private:
  void Work() {
    while (!over_) {
      std::optional<Responder> next;
      {
        std::lock_guard lock(mutex_);
        if (!waiting_.empty()) {
          next = waiting_.front();
          waiting_.pop_front();
        }
      }
      if (!next) {
        std::this_thread::sleep_for(milliseconds(1));
        continue;
      }
      next->StartEventStream();
      std::this_thread::sleep_for(service_);
      for (const char* text : {"a", "b", "c"}) next->SendEvent(TextEvent(text));
      next->SendEvent(kFinish);
      next->SendEvent(kUsage);
      next->SendEvent("[DONE]");
      next->Close();
    }
  }

  const milliseconds service_;
  std::mutex mutex_;
  std::deque<Responder> waiting_;
  std::vector<std::string> bodies_;
  std::atomic<bool> over_{false};
  std::optional<HttpServer> server_;
  std::thread worker_;
};

TEST(Replay, AStalledServerShowsItsQueue) {
  OneAtATime server(milliseconds(100));
  std::vector<ReplayRequest> requests(6, {.path = "/v1/chat/completions", .body = "{}"});
  for (size_t i = 0; i < requests.size(); ++i) requests[i].arrival_seconds = 0.02 * double(i);
  const auto run = ReplayRequests(requests, {.port = server.port(), .loop = ReplayLoop::kOpen});
  ASSERT_TRUE(run.ok());
  // Due every 20 ms, served every 100 ms: the wait grows by 80 ms a request.
  for (size_t i = 0; i < requests.size(); ++i) {
    const ReplayAnswer& a = run->answers[i];
    ASSERT_TRUE(a.ok()) << a.failure;
    EXPECT_NEAR(a.scheduled, 0.02 * double(i), 1e-9);
    EXPECT_GE(a.emissions.front() - a.scheduled, 0.1 + 0.08 * double(i) - 0.01);
    EXPECT_EQ(a.text, "abc");
    EXPECT_EQ(a.output_tokens, 3);
    EXPECT_EQ(a.cached_tokens, 4);
    EXPECT_EQ(a.queued_ms, 1.5);
  }
  const RunMetrics m = Measure(*run, {.ttft_ms = 250, .itl_ms = {}, .e2e_ms = {}});
  EXPECT_GE(m.ttft.mean, 100 + 80 * 2.5 - 10);
  EXPECT_FALSE(m.ttft.p95.has_value());  // of six requests
  EXPECT_GT(m.within_targets, 0);
  EXPECT_LT(m.within_targets, 1);
  EXPECT_EQ(m.prefix_hit, 0.4);
  EXPECT_EQ(m.accepted, 0.5);
}

TEST(Replay, ClosedLoopKeepsSoManyAtOnceAndSessionsInOrder) {
  OneAtATime server(milliseconds(10));
  std::vector<ReplayRequest> requests;
  for (int i = 0; i < 6; ++i)
    requests.push_back({.path = "/v1/chat/completions",
                        .body = std::to_string(i),
                        .session = i % 2 == 0 ? "even" : "odd",
                        .delay_seconds = i < 2 ? 0 : 0.05});
  const auto run = ReplayRequests(requests, {.port = server.port(), .clients = 1});
  ASSERT_TRUE(run.ok());
  EXPECT_THAT(server.bodies(), testing::ElementsAre("0", "2", "4", "1", "3", "5"));
  for (size_t i = 2; i < 6; ++i) {
    EXPECT_NEAR(run->answers[i].scheduled, run->answers[i - 2].end + 0.05, 1e-3);
    EXPECT_GE(run->answers[i].sent, run->answers[i].scheduled - 1e-6);
  }
}

// Every stream that is open gets a token every 100 ms.
class SlowStreams {
 public:
  static constexpr int kTokens = 20;
  SlowStreams() : worker_([this] { Work(); }) {
    server_.emplace(HttpConfig{}, [this](HttpRequest, Responder responder) {
      responder.StartEventStream();
      std::lock_guard lock(mutex_);
      streams_.push_back({responder, 0});
    });
    EXPECT_TRUE(server_->Start().ok());
  }
  ~SlowStreams() {
    over_ = true;
    worker_.join();
    server_->Stop(milliseconds(100));
  }
  uint16_t port() const { return server_->port(); }

 private:
  void Work() {
    for (auto next = std::chrono::steady_clock::now(); !over_; next += milliseconds(100)) {
      std::this_thread::sleep_until(next);
      std::lock_guard lock(mutex_);
      for (auto& [responder, sent] : streams_) {
        if (sent++ < kTokens) {
          responder.SendEvent(TextEvent("token "));
        } else if (sent == kTokens + 2) {
          responder.SendEvent(kFinish);
          responder.SendEvent("[DONE]");
          responder.Close();
        }
      }
    }
  }

  std::mutex mutex_;
  std::vector<std::pair<Responder, int>> streams_;
  std::atomic<bool> over_{false};
  std::optional<HttpServer> server_;
  std::thread worker_;
};

TEST(Replay, TheClientItselfTakesLittle) {
  SlowStreams server;
  const std::vector<ReplayRequest> requests(100, {.path = "/v1/chat/completions", .body = "{}"});
  const auto run = ReplayRequests(requests, {.port = server.port(), .clients = 100});
  ASSERT_TRUE(run.ok());
  for (const ReplayAnswer& a : run->answers) {
    ASSERT_TRUE(a.ok()) << a.failure;
    EXPECT_EQ(a.emissions.size(), static_cast<size_t>(SlowStreams::kTokens));
  }
  std::printf("100 streams of 10 tokens a second: %.2f %% of a core, %.1f us a token\n",
              100 * run->cores_per_100_streams(),
              1e6 * run->client_cpu_seconds / (100.0 * SlowStreams::kTokens));
  EXPECT_GT(run->client_cpu_seconds, 0);
  EXPECT_LT(run->cores_per_100_streams(), 0.1);  // the goal is 0.01, on a machine that is not busy
}

// Answers by what the body says.
class FaultyServer {
 public:
  FaultyServer() {
    server_.emplace(HttpConfig{}, [this](HttpRequest request, Responder responder) {
      if (request.body == "refuse") return void(responder.Send(PlainError(503, "full")));
      responder.StartEventStream();
      if (request.body == "calls") return Call(responder);
      responder.SendEvent(TextEvent("x"));
      if (request.body == "error") responder.SendEvent(R"({"error":{"message":"m"}})");
      if (request.body == "hang") {
        std::lock_guard lock(mutex_);
        held_.push_back(responder);
        return;
      }
      if (request.body == "whole") responder.SendEvent(kFinish);
      if (request.body == "whole") responder.SendEvent("[DONE]");
      responder.Close();
    });
    EXPECT_TRUE(server_->Start().ok());
  }
  uint16_t port() const { return server_->port(); }

 private:
  // Thinks, then calls f({"a": 1}).
  static void Call(Responder& responder) {
    for (const char* delta :
         {R"("role": "assistant")", R"("reasoning_content": "hm")",
          R"("tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}])",
          R"("tool_calls": [{"index": 0, "function": {"arguments": "{\"a\": "}}])",
          R"("tool_calls": [{"index": 0, "function": {"arguments": "1}"}}])"}) {
      responder.SendEvent(
          fmt::format(R"({{"choices": [{{"index": 0, "delta": {{{}}}}}]}})", delta));
    }
    responder.SendEvent(kFinish);
    responder.SendEvent("[DONE]");
    responder.Close();
  }

  std::mutex mutex_;
  std::vector<Responder> held_;
  std::optional<HttpServer> server_;
};

TEST(Replay, ReasoningAndCallsAreSeenAsTheyCome) {
  FaultyServer server;
  const std::vector<ReplayRequest> requests = {{.path = "/v1/chat/completions", .body = "calls"}};
  const auto run = ReplayRequests(requests, {.port = server.port(), .clients = 1});
  ASSERT_TRUE(run.ok());
  ASSERT_TRUE(run->answers[0].ok()) << run->answers[0].failure;
  EXPECT_EQ(run->answers[0].text, "f{\"a\": 1}");
  EXPECT_EQ(run->answers[0].emissions.size(), 4u);
}

TEST(Replay, FailuresAreARowOfTheirOwn) {
  FaultyServer server;
  std::vector<ReplayRequest> requests;
  for (const char* body : {"whole", "refuse", "error", "cut", "hang"})
    requests.push_back({.path = "/v1/chat/completions", .body = body});
  auto run = ReplayRequests(requests, {.port = server.port(), .clients = 5, .time_limit = 0.3});
  ASSERT_TRUE(run.ok());
  const RunMetrics m = Measure(*run, {});
  EXPECT_EQ(m.whole, 1);
  EXPECT_EQ(m.ttft.count, 1);
  EXPECT_EQ(m.failures.at("HTTP 503"), 1);
  EXPECT_EQ(m.failures.at("an error event in the stream"), 1);
  EXPECT_EQ(m.failures.at("a stream without its end"), 1);
  EXPECT_EQ(m.failures.at("time limit"), 1);
  run = ReplayRequests(requests, {.port = 1, .clients = 2});  // nobody listens there
  EXPECT_THAT(run->answers[0].failure, testing::HasSubstr("connection"));
  EXPECT_FALSE(ReplayRequests({}, {.port = 1}).ok());
  EXPECT_FALSE(ReplayRequests(requests, {.port = 1, .clients = 0}).ok());
  EXPECT_FALSE(ReplayRequests(requests, {.address = "localhost", .port = 1}).ok());
}

TEST(Metrics, ByHand) {
  ReplayRun run;
  ReplayAnswer a;
  a.scheduled = 1;
  a.sent = 1.1;
  a.emissions = {1.5, 1.6, 1.9};
  a.end = 2;
  a.output_tokens = 5;
  a.text = "x";
  run.answers = {a, a};
  run.answers[1].failure = "HTTP 500";
  run.answers[1].end = 3;
  const RunMetrics m = Measure(run, {.ttft_ms = {}, .itl_ms = 150, .e2e_ms = {}});
  EXPECT_NEAR(m.ttft.mean, 500, 1e-9);
  EXPECT_NEAR(m.ttft_from_send.mean, 400, 1e-9);
  EXPECT_NEAR(m.tpot.mean, 100, 1e-9);
  EXPECT_NEAR(m.itl.mean, 200, 1e-9);
  EXPECT_NEAR(m.stall.mean, 300, 1e-9);
  EXPECT_NEAR(m.e2e.mean, 900, 1e-9);
  EXPECT_NEAR(m.throughput, 5 / 2.0, 1e-9);
  EXPECT_NEAR(m.tokens_per_emission, 5 / 3.0, 1e-9);
  EXPECT_EQ(m.goodput, 0);  // its mean gap is 200 ms
  EXPECT_EQ(m.failures.at("HTTP 500"), 1);
}

TEST(Metrics, TailsNeedEnoughRequests) {
  EXPECT_FALSE(SummarizeLatency(std::vector<double>(199, 1)).p95);
  EXPECT_TRUE(SummarizeLatency(std::vector<double>(200, 1)).p95);
  EXPECT_FALSE(SummarizeLatency(std::vector<double>(999, 1)).p99);
  EXPECT_TRUE(SummarizeLatency(std::vector<double>(1000, 1)).p99);
}

TEST(Metrics, Targets) {
  const auto targets = ParseTargets("ttft=500ms,itl=80,e2e=2s");
  ASSERT_TRUE(targets.ok());
  EXPECT_EQ(targets->ttft_ms, 500);
  EXPECT_EQ(targets->itl_ms, 80);
  EXPECT_EQ(targets->e2e_ms, 2000);
  for (const char* wrong : {"ttft", "ttft=", "ttft=-1ms", "speed=1", "ttft=5h"})
    EXPECT_THAT(ParseTargets(wrong).error().message, testing::HasSubstr("is no target")) << wrong;
}

}  // namespace
}  // namespace millrace
