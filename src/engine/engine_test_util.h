// What the engine's tests share: an engine on a FakeModel, a recorder of events, the answer that a
// request gets alone.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/fake_model.h"

namespace millrace {

inline constexpr int32_t kTestVocab = 40;

inline KvStore MakeKv(int32_t blocks) {
  auto kv = KvStore::Create(FakeModel::Shape(), KvType::kF32, blocks);
  CHECK(kv.ok());
  return std::move(kv).value();
}

inline std::vector<TokenId> MakePrompt(int32_t length, uint64_t salt = 0) {
  std::vector<TokenId> prompt;
  CounterRng rng(salt, 7);
  for (int32_t i = 0; i < length; ++i) {
    prompt.push_back(TokenId(static_cast<int32_t>(rng.NextU64() % kTestVocab)));
  }
  return prompt;
}

inline Request MakeRequest(int32_t prompt_tokens, int32_t max_tokens, uint64_t salt = 0) {
  Request request;
  request.prompt = MakePrompt(prompt_tokens, salt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0.0f;
  request.sampling.seed = salt;
  return request;
}

// What one request was sent. Breaks of the protocol are counted, not just the result kept.
struct Received {
  std::vector<TokenId> tokens;
  std::vector<FinishInfo> finishes;
  int events_after_finish = 0;
  int empty_events = 0;
};

// Collects the events of many requests; may be read while the engine runs.
class Recorder {
 public:
  EventSink Sink() {
    return [this](const Event& event) { Record(event); };
  }

  void Record(const Event& event) {
    const std::lock_guard lock(mutex_);
    Received& received = received_[event.request];
    if (!received.finishes.empty()) ++received.events_after_finish;
    if (event.tokens.empty() && !event.finish) ++received.empty_events;
    for (const Sampled& sampled : event.tokens) received.tokens.push_back(sampled.token);
    if (event.finish) received.finishes.push_back(*event.finish);
  }

  Received Of(RequestId id) const {
    const std::lock_guard lock(mutex_);
    const auto found = received_.find(id);
    return found == received_.end() ? Received{} : found->second;
  }
  void Clear() {
    const std::lock_guard lock(mutex_);
    received_.clear();
  }
  size_t requests() const {
    const std::lock_guard lock(mutex_);
    return received_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::map<RequestId, Received> received_;
};

// The output of a request by the definition: one row of logits after the other, without an engine.
inline std::vector<TokenId> OutputAlone(const Request& request, float habit = 0.0f) {
  std::vector<TokenId> tokens = request.prompt;
  Sampler sampler(request.sampling, kTestVocab);
  sampler.ObservePrompt(tokens);
  std::vector<TokenId> output;
  while (static_cast<int32_t>(output.size()) < request.max_tokens) {
    const auto logits = FakeModel::LogitsOf(tokens, kTestVocab, habit);
    const TokenId token = sampler.Sample(logits, static_cast<int64_t>(tokens.size())).token;
    sampler.Observe(token);
    tokens.push_back(token);
    output.push_back(token);
    const auto& stops = request.stop_tokens;
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) break;
  }
  return output;
}

// Time that a test moves by hand; readable from several threads.
class ManualClock {
 public:
  Clock clock() const {
    return Clock([now = now_] { return TimePoint(Duration(now->load())); });
  }
  void Advance(Duration duration) { *now_ += duration.count(); }

 private:
  std::shared_ptr<std::atomic<int64_t>> now_ = std::make_shared<std::atomic<int64_t>>(1'000'000);
};

// An engine over the fake model, and what its requests got.
struct EngineFixture {
  explicit EngineFixture(EngineConfig config = {}, int32_t blocks = 64, Clock clock = Clock()) {
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

}  // namespace millrace
