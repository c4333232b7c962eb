// The invariants over random schedules: every request's tokens are those it gets alone, and every
// request ends once, whatever the pool, the batch, the chunks, the arrivals and the cancels.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

struct RandomSent {
  RequestId id;
  Request request;
  bool cancelled = false;
  bool is_fork = false;  // not the first answer to its prompt
};

struct Totals {
  int64_t preemptions = 0, finished = 0, refused = 0, cached = 0, evicted = 0, swapped_in = 0,
          expired = 0, drafted = 0, accepted = 0;
};

class RandomRun {
 public:
  explicit RandomRun(uint64_t seed)
      : rng_(seed, 1), blocks_(Below(13) + 4), adapters_(seed % 4 == 0) {
    EngineConfig config;
    config.scheduler.max_running = Below(8) + 1;
    config.scheduler.max_step_tokens = Below(3) == 0 ? Below(8) + 1 : Below(200) + 1;
    config.scheduler.max_chunk = Below(90) + 1;
    config.max_queued_requests = Below(12) + 1;
    config.prefix_cache = Below(4) > 0;
    if (!config.prefix_cache && Below(2) == 0) {
      config.scheduler.layout = KvLayout::kContiguous;
    }
    if (Below(8) == 0) config.scheduler.batching = Batching::kStatic;
    if (Below(3) > 0) {
      constexpr Speculation kModes[] = {Speculation::kAuto, Speculation::kLookup,
                                        Speculation::kSuffix, Speculation::kDraft};
      config.speculation.mode = mode_ = kModes[Below(4)];
      config.speculation.fixed_draft = Below(kMaxDraft) + 1;
      config.speculation.max_draft = kMaxDraft;
    }
    auto model = std::make_unique<FakeModel>(kTestVocab, 1 << 20, kHabit);
    if (adapters_) {
      model->AddAdapter("one", "one");
      model->AddAdapter("two", "two");
    }
    model->on_batch = [this](const Batch&) { time_.Advance(Duration(Below(1000))); };
    // The draft is the same model, so whatever it proposes is right, if what its blocks hold is.
    auto draft = std::make_unique<DraftModel>(
        DraftModel{.model = std::make_unique<FakeModel>(kTestVocab, 1 << 20, kHabit),
                   .kv = MakeKv(blocks_),
                   .context_length = 1 << 20});
    engine_ = std::make_unique<Engine>(config, std::move(model), MakeKv(blocks_), time_.clock(),
                                       nullptr, MakeSwap(), std::move(draft));
  }

  void Run() {
    for (int operation = 0; operation < 120; ++operation) {
      const int32_t choice = Below(10);
      if (choice < 3) {
        Submit();
      } else if (choice == 3 && !sent_.empty() && Below(3) == 0) {
        Cancel();
      } else {
        engine_->Step();
      }
    }
    int steps = 0;
    while (engine_->Step()) ASSERT_LT(++steps, 100'000);
  }

  // Adds up what is worth knowing about how hard the runs were.
  void Check(Totals& totals) const {
    for (const RandomSent& sent : sent_) CheckOne(sent);
    EXPECT_EQ(recorder_.requests(), sent_.size());
    const EngineStats stats = engine_->stats();
    EXPECT_EQ(stats.blocks_held, stats.blocks_pinned);
    EXPECT_EQ(stats.running + stats.waiting, 0);
    EXPECT_EQ(stats.finished, static_cast<int64_t>(sent_.size()));
    totals.preemptions += stats.preemptions;
    totals.finished += stats.finished;
    totals.refused += refused_;
    totals.cached += stats.prefix_hits;
    totals.evicted += stats.prefix_evictions;
    totals.swapped_in += stats.swapped_in;
    totals.expired += stats.expired;
    EXPECT_EQ(stats.swap_blocks_held, 0);
    for (size_t kind = 0; kind < kDrafterKinds; ++kind) {
      totals.drafted += stats.speculation.drafted[kind];
      totals.accepted += stats.speculation.accepted[kind];
    }
  }

 private:
  static constexpr float kHabit = 7.0f;
  const std::shared_ptr<const OutputGrammar> grammar_ = TestGrammar();

  int32_t Below(int32_t bound) {
    return static_cast<int32_t>(rng_.NextU64() % static_cast<uint64_t>(bound));
  }

  std::optional<KvStore> MakeSwap() {
    if (Below(2) == 0) return std::nullopt;
    return MakeKv(Below(12) + 1);
  }

  void Submit() {
    const int32_t room = blocks_ * kBlockTokens;
    const int32_t prompt = Below(Below(3) == 0 ? room - 1 : 40) + 1;
    Request request = MakeRequest(prompt, Below(std::min(room - prompt, 150)) + 1, rng_.NextU64());
    request.sampling.temperature = Below(2) == 0 ? 0.0f : 0.9f;
    if (Below(3) == 0) request.sampling.top_k = 5;
    if (Below(3) == 0) request.sampling.repetition_penalty = 1.2f;
    if (Below(3) == 0) request.sampling.frequency_penalty = 0.7f;
    if (Below(3) > 0) {  // begins like others
      const auto common = MakePrompt(Below(prompt) + 1, static_cast<uint64_t>(Below(3)));
      std::copy(common.begin(), common.end(), request.prompt.begin());
    }
    request.prefix_cache = Below(5) > 0;
    if (Below(4) == 0) request.cache_space = "another";
    if (adapters_ && Below(3) == 0) request.adapter = AdapterId(Below(2));
    if (Below(4) == 0) request.pin = Below(2) == 0 ? PinAction::kPin : PinAction::kUnpin;
    if (Below(4) == 0) request.speculate = Speculation::kOff;
    request.explain = Below(2) == 0;
    request.client = Below(3) == 0 ? "another" : "";
    request.priority = Below(3) - 1;
    if (Below(10) == 0) request.time_limit = Duration(Below(30'000));
    if (Below(3) == 0) request.stop_tokens = {TokenId(Below(kTestVocab))};
    if (Below(3) == 0) request.grammar = grammar_;
    // One answer or several, each with its own seed.
    std::vector<Request> answers(Below(4) == 0 ? static_cast<size_t>(Below(4) + 1) : 1, request);
    std::vector<Engine::Fork> forks;
    for (Request& answer : answers) {
      answer.sampling.seed += forks.size();
      forks.push_back({answer.sampling, recorder_.Sink()});
    }
    const auto ids = engine_->SubmitForks(request, std::move(forks));
    if (!ids.ok()) {
      EXPECT_EQ(ids.error().kind, ErrorKind::kExhausted) << ids.error().message;
      ++refused_;
      return;
    }
    for (size_t i = 0; i < answers.size(); ++i) {
      sent_.push_back({(*ids)[i], std::move(answers[i]), false, i > 0});
    }
  }

  // A request that may be finished already, too.
  void Cancel() {
    RandomSent& sent = sent_[static_cast<size_t>(Below(static_cast<int32_t>(sent_.size())))];
    sent.cancelled = true;
    engine_->Cancel(sent.id);
    const size_t before = recorder_.Of(sent.id).tokens.size();
    engine_->Step();
    EXPECT_EQ(recorder_.Of(sent.id).finishes.size(), 1u) << "not within one step";
    EXPECT_EQ(recorder_.Of(sent.id).tokens.size(), before);
  }

  void CheckOne(const RandomSent& sent) const {
    const Received received = recorder_.Of(sent.id);
    ASSERT_EQ(received.finishes.size(), 1u);
    EXPECT_EQ(received.events_after_finish, 0);
    EXPECT_EQ(received.empty_events, 0);
    const FinishInfo& finish = received.finishes[0];
    const auto& stops = sent.request.stop_tokens;
    const std::vector<TokenId> alone = OutputAlone(sent.request, kHabit);
    if (finish.reason == FinishReason::kCancelled || finish.reason == FinishReason::kDeadline) {
      EXPECT_TRUE(sent.cancelled || finish.reason == FinishReason::kDeadline);
      EXPECT_TRUE(sent.request.time_limit || finish.reason == FinishReason::kCancelled);
      ASSERT_LE(received.tokens.size(), alone.size());
      EXPECT_TRUE(std::equal(received.tokens.begin(), received.tokens.end(), alone.begin()));
    } else {
      EXPECT_EQ(received.tokens, alone);
      const bool stopped = EndsByItself(sent.request, alone);
      EXPECT_EQ(finish.reason, stopped ? FinishReason::kStop : FinishReason::kLength);
    }
    const RequestTimings& timings = finish.timings;
    EXPECT_EQ(timings.output_tokens, static_cast<int32_t>(received.tokens.size()));
    EXPECT_GE(timings.queued, Duration(0));
    EXPECT_GE(timings.prefill, Duration(0));
    EXPECT_GE(timings.decode, Duration(0));
    EXPECT_LT(timings.cached_tokens, timings.prompt_tokens);
    if (!sent.request.prefix_cache) {
      EXPECT_EQ(timings.cached_tokens, 0);
    }
    if (finish.reason != FinishReason::kCancelled && finish.reason != FinishReason::kDeadline) {
      const int32_t once =
          timings.prompt_tokens - timings.cached_tokens + timings.output_tokens - 1;
      EXPECT_LE(timings.accepted_tokens, timings.drafted_tokens);
      if (sent.request.speculate.value_or(mode_) == Speculation::kDraft && stops.empty() &&
          !sent.request.grammar && !sent.request.adapter) {
        EXPECT_EQ(timings.accepted_tokens, timings.drafted_tokens);
      }
      // Without what was drafted in vain. A draft that ends with the output may hold its last
      // token, of which plain decoding computes no row.
      const int32_t computed =
          timings.computed_tokens - timings.drafted_tokens + timings.accepted_tokens;
      const int32_t last = timings.accepted_tokens > 0 ? 1 : 0;
      if (sent.is_fork) {  // the prompt was computed for the first, unless that was lost
        EXPECT_GE(computed, timings.output_tokens - 1);
      } else if (timings.preemptions == 0) {
        EXPECT_GE(computed, once);
        EXPECT_LE(computed, once + last);
      } else {
        EXPECT_GE(computed, once);  // a swapped one computes nothing again
      }
    }
  }

  CounterRng rng_;
  int32_t blocks_;
  bool adapters_;  // requests may be under one of two
  Speculation mode_ = Speculation::kOff;
  ManualClock time_;
  Recorder recorder_;
  std::unique_ptr<Engine> engine_;
  std::vector<RandomSent> sent_;
  int64_t refused_ = 0;
};

TEST(EngineRandomTest, TokensAreThoseOfRunningAlone) {
  Totals totals;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    RandomRun run(seed);
    run.Run();
    run.Check(totals);
    if (HasFailure()) break;
  }
  // The test is worth something only if it went where it hurts.
  EXPECT_GT(totals.preemptions, 50);
  EXPECT_GT(totals.finished, 3000);
  EXPECT_GT(totals.refused, 100);
  EXPECT_GT(totals.cached, 3000);
  EXPECT_GT(totals.evicted, 1000);
  EXPECT_GT(totals.swapped_in, 20);
  EXPECT_GT(totals.expired, 50);
  EXPECT_GT(totals.drafted, 10'000);
  EXPECT_GT(totals.accepted, 3000);
}

// The proof that the comparison would notice wrong blocks: two sequences are made to share one.
TEST(EngineRandomTest, AWrongBlockTableGivesWrongTokens) {
  const std::vector<TokenId> prompt = MakePrompt(40, 1);
  KvStore kv = MakeKv(4);
  FakeModel model(kTestVocab);
  const std::vector<BlockId> right = {BlockId(2), BlockId(0)};
  const std::vector<BlockId> wrong = {BlockId(2), BlockId(3)};
  const auto forward = [&](int32_t first, int32_t count, std::span<const BlockId> table) {
    const auto tokens =
        std::span(prompt).subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    const auto logits = model.Forward(
        {{{.tokens = tokens, .first_position = first, .block_table = table, .logit_rows = 1}}}, kv);
    return std::vector<float>(logits.data, logits.data + logits.columns);
  };
  const auto expected = FakeModel::LogitsOf(prompt, kTestVocab);
  EXPECT_EQ(forward(0, 40, right), expected);
  forward(0, 35, right);
  EXPECT_EQ(forward(35, 5, right), expected);
  EXPECT_NE(forward(35, 5, wrong), expected);
  const std::vector<BlockId> fresh = {BlockId(2), BlockId(1)};
  forward(0, 35, fresh);
  EXPECT_NE(forward(36, 4, fresh), expected);  // a token was skipped
}

}  // namespace
}  // namespace millrace
