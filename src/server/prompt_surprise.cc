#include "server/prompt_surprise.h"

#include <algorithm>
#include <future>
#include <memory>
#include <utility>
#include <vector>

namespace millrace::server_internal {
namespace {

constexpr size_t kScoredAtOnce = 512;  // TokenScorer::kWindow
constexpr double kUnknown = 1e9;       // of a first token

// What the served model itself says. It costs about what computing the passages in the prompt does.
Result<std::vector<float>> ScoreByEngine(const ContextPointer& context,
                                         std::span<const TokenId> tokens) {
  Request request;
  request.prompt.assign(tokens.begin(), tokens.end());
  request.max_tokens = 1;
  request.sampling.temperature = 0;
  request.sampling.top_logprobs = 0;
  request.score_prompt = true;
  request.prefix_cache = false;
  request.speculate = Speculation::kOff;
  request.client = context->key();
  struct Heard {
    std::vector<float> surprises;
    std::promise<Result<std::vector<float>>> answer;
  };
  const auto heard = std::make_shared<Heard>();
  auto answer = heard->answer.get_future();
  const auto accepted =
      context->shared().model.engine->Submit(std::move(request), [heard](const Event& event) {
        for (const Sampled& sampled : event.prompt) heard->surprises.push_back(-sampled.logprob);
        if (!event.finish) return;
        const FinishReason reason = event.finish->reason;
        if (reason == FinishReason::kLength || reason == FinishReason::kStop) {
          heard->answer.set_value(std::move(heard->surprises));
        } else {
          heard->answer.set_value(
              Error{"The server is stopping: try again later.", ErrorKind::kExhausted});
        }
      });
  if (!accepted.ok()) return accepted.error();
  return answer.get();
}

Result<std::vector<ScoredToken>> ScoreText(const ContextPointer& context, const std::string& text) {
  const ServedModel& model = context->shared().model;
  const Tokenizer& tokenizer = *model.tokenizer;
  const std::vector<TokenId> tokens = tokenizer.Encode(text, SpecialTokens::kAsText);
  std::vector<ScoredToken> scored;
  std::string spelt;
  for (const TokenId token : tokens) {
    spelt += tokenizer.TokenBytes(token);
    scored.push_back({spelt.size(), kUnknown});
  }
  if (spelt != text) {
    if (spelt != " " + text) return std::vector<ScoredToken>();
    for (ScoredToken& token : scored) --token.end;  // a space that the tokenizer puts before texts
  }
  for (size_t first = 0; first < tokens.size(); first += kScoredAtOnce) {
    const auto piece =
        std::span(tokens).subspan(first, std::min(kScoredAtOnce, tokens.size() - first));
    if (piece.size() < 2) break;
    ASSIGN_OR_RETURN(const std::vector<float> surprises,
                     model.surprises ? model.surprises(piece) : ScoreByEngine(context, piece));
    for (size_t i = 0; i < surprises.size() && i + 1 < piece.size(); ++i)
      scored[first + i + 1].nats = surprises[i];
  }
  return scored;
}

}  // namespace

SurpriseModel SurpriseModelOf(const ContextPointer& context) {
  return [context](
             std::span<const std::string> texts) -> Result<std::vector<std::vector<ScoredToken>>> {
    std::vector<std::vector<ScoredToken>> all;
    for (const std::string& text : texts) {
      ASSIGN_OR_RETURN(auto scored, ScoreText(context, text));
      all.push_back(std::move(scored));
    }
    return all;
  };
}

}  // namespace millrace::server_internal
