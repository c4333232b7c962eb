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

// A grammar over the test vocabulary: 0 to 25 are letters, 26 to 35 digits, then some longer
// tokens, and the last one ends an answer. What the fake model's habit prefers is allowed often.
inline std::shared_ptr<const OutputGrammar> TestGrammar() {
  std::vector<OutputVocabulary::Token> tokens;
  for (char c = 'a'; c <= 'z'; ++c) tokens.push_back({std::string(1, c), false});
  for (char c = '0'; c <= '9'; ++c) tokens.push_back({std::string(1, c), false});
  for (const char* text : {"ab", "b1c", "gz"}) tokens.push_back({text, false});
  tokens.push_back({"<end>", true});
  CHECK(tokens.size() == kTestVocab);
  const auto grammar = OutputGrammar::FromGbnf(
      "root ::= word{1,30}\nword ::= [a-g]{1,9} [0-9k-z] | \"(\" root \")\"",
      std::make_shared<OutputVocabulary>(tokens, std::vector{TokenId(kTestVocab - 1)}));
  CHECK(grammar.ok());
  return *grammar;
}

// Whether the answer ends where it does by itself: by a stop token, or as the grammar says.
inline bool EndsByItself(const Request& request, const std::vector<TokenId>& output) {
  const auto& stops = request.stop_tokens;
  if (std::find(stops.begin(), stops.end(), output.back()) != stops.end()) return true;
  if (!request.grammar) return false;
  OutputMatcher matcher(request.grammar);
  for (const TokenId token : output) CHECK(matcher.Take(token));
  return matcher.IsFinished() || matcher.IsEnd(output.back());
}

// The tokens that a copy of the matcher takes, one by one, as a mask.
inline std::vector<uint64_t> AllowedBy(const std::optional<OutputMatcher>& matcher) {
  if (!matcher) return {};
  std::vector<uint64_t> allowed(1, 0);
  static_assert(kTestVocab <= 64);
  for (int32_t i = 0; i < kTestVocab; ++i) {
    OutputMatcher copy = *matcher;
    if (copy.Take(TokenId(i))) allowed[0] |= uint64_t{1} << i;
  }
  return allowed;
}

// The output of a request by the definition: one row of logits after the other, without an engine.
inline std::vector<TokenId> OutputAlone(const Request& request, float habit = 0.0f) {
  std::vector<TokenId> tokens = request.prompt;
  Sampler sampler(request.sampling, kTestVocab);
  sampler.ObservePrompt(tokens);
  std::vector<TokenId> output;
  std::optional<OutputMatcher> matcher;
  if (request.grammar) matcher.emplace(request.grammar);
  while (static_cast<int32_t>(output.size()) < request.max_tokens) {
    const auto logits = FakeModel::LogitsOf(tokens, kTestVocab, habit, request.adapter);
    const auto position = static_cast<int64_t>(tokens.size());
    const TokenId token = sampler.Sample(logits, position, AllowedBy(matcher)).token;
    sampler.Observe(token);
    if (matcher) CHECK(matcher->Take(token));
    tokens.push_back(token);
    output.push_back(token);
    if (EndsByItself(request, output)) break;
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
