// Scores of a prompt's own tokens: equal to those computed row by row without an engine, however
// the prompt was cut, preempted or shared.
#include <cmath>

#include "engine/engine_test_util.h"

namespace millrace {
namespace {

// log softmax in double precision, straight from the definition.
double LogprobOf(const std::vector<float>& logits, TokenId token) {
  double largest = -INFINITY, sum = 0;
  for (const float logit : logits) largest = std::max(largest, double{logit});
  for (const float logit : logits) sum += std::exp(double{logit} - largest);
  return double{logits[static_cast<size_t>(token.value)]} - largest - std::log(sum);
}

void ExpectScores(const Request& request, const std::vector<Sampled>& scores) {
  ASSERT_EQ(scores.size(), request.prompt.size() - 1);
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto logits = FakeModel::LogitsOf(std::span(request.prompt).first(i + 1), kTestVocab);
    EXPECT_EQ(scores[i].token, request.prompt[i + 1]);
    EXPECT_NEAR(scores[i].logprob, LogprobOf(logits, request.prompt[i + 1]), 1e-5) << i;
    ASSERT_EQ(scores[i].top_logprobs.size(), 2u);
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    EXPECT_EQ(scores[i].top_logprobs[0].token.value, best);
  }
}

Request Scored(int32_t prompt_tokens, int32_t max_tokens, uint64_t salt = 0) {
  Request request = MakeRequest(prompt_tokens, max_tokens, salt);
  request.score_prompt = true;
  request.sampling.top_logprobs = 2;
  return request;
}

struct Heard {
  std::vector<std::vector<Sampled>> prompts;  // of the events that told some
  std::vector<TokenId> tokens;
  EventSink Sink() {
    return [this](const Event& event) {
      if (!event.prompt.empty()) prompts.push_back(event.prompt);
      for (const Sampled& sampled : event.tokens) tokens.push_back(sampled.token);
    };
  }
};

TEST(EngineScores, EveryPromptTokenButTheFirstHasTheModelsLogprob) {
  EngineConfig config;
  config.scheduler.max_chunk = 7;  // so that the prompt comes in pieces
  EngineFixture f(config);
  const Request request = Scored(100, 5);
  Heard heard, again;
  ASSERT_TRUE(f.engine->Submit(request, heard.Sink()).ok());
  f.Finish();
  ASSERT_EQ(heard.prompts.size(), 1u);
  ExpectScores(request, heard.prompts[0]);
  EXPECT_EQ(heard.tokens, OutputAlone(request));
  // The second time the beginning would be in the prefix cache, which knows no logits.
  ASSERT_TRUE(f.engine->Submit(request, again.Sink()).ok());
  f.Finish();
  ASSERT_EQ(again.prompts.size(), 1u);
  ExpectScores(request, again.prompts[0]);
}

TEST(EngineScores, NoMoreThan64RowsOfAPromptHaveLogitsInAStep) {
  EngineFixture f;
  size_t most = 0;
  f.model->on_batch = [&](const Batch& batch) {
    for (const BatchSequence& sequence : batch.sequences) {
      most = std::max(most, static_cast<size_t>(sequence.logit_rows));
    }
  };
  Heard heard;
  ASSERT_TRUE(f.engine->Submit(Scored(500, 1), heard.Sink()).ok());
  f.Finish();
  EXPECT_EQ(most, 64u);
  EXPECT_EQ(heard.prompts.at(0).size(), 499u);
}

TEST(EngineScores, APromptOfOneTokenHasNone) {
  EngineFixture f;
  Heard heard;
  ASSERT_TRUE(f.engine->Submit(Scored(1, 3), heard.Sink()).ok());
  f.Finish();
  EXPECT_TRUE(heard.prompts.empty());
  EXPECT_EQ(heard.tokens.size(), 3u);
}

TEST(EngineScores, PreemptedRequestsAreScoredOnce) {
  EngineConfig config;
  config.scheduler.max_chunk = 16;
  EngineFixture f(config, 12);  // too few blocks for all at once
  std::vector<Request> requests;
  std::vector<Heard> heard(4);
  for (uint64_t i = 0; i < 4; ++i) {
    requests.push_back(Scored(40 + static_cast<int32_t>(i) * 9, 90, i));
    ASSERT_TRUE(f.engine->Submit(requests.back(), heard[i].Sink()).ok());
  }
  f.Finish();
  EXPECT_GT(f.engine->stats().preemptions, 0);
  for (size_t i = 0; i < heard.size(); ++i) {
    ASSERT_EQ(heard[i].prompts.size(), 1u);
    ExpectScores(requests[i], heard[i].prompts[0]);
    EXPECT_EQ(heard[i].tokens, OutputAlone(requests[i]));
  }
}

TEST(EngineScores, ForksGetTheSameScores) {
  EngineFixture f;
  const Request request = Scored(30, 4);
  std::vector<Heard> heard(3);
  std::vector<Engine::Fork> forks;
  for (Heard& one : heard) forks.push_back({request.sampling, one.Sink()});
  ASSERT_TRUE(f.engine->SubmitForks(request, std::move(forks)).ok());
  f.Finish();
  for (const Heard& one : heard) {
    ASSERT_EQ(one.prompts.size(), 1u);
    ExpectScores(request, one.prompts[0]);
  }
}

TEST(EngineScores, NeedLogprobs) {
  EngineFixture f;
  Request request = Scored(3, 1);
  request.sampling.top_logprobs = -1;
  EXPECT_NE(f.Refusal(request).message.find("top_logprobs"), std::string::npos);
}

}  // namespace
}  // namespace millrace
