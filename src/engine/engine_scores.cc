// What the model says of the prompt's own tokens, where a request asks for that: then every row of
// the prompt has logits. A row that a preemption throws away is computed again, but scored once.
#include <algorithm>
#include <span>

#include "base/check.h"
#include "engine/engine_state.h"

namespace millrace {

bool Engine::State::WantsScores(const LiveRequest& request, const Slice& slice) {
  const int32_t last_scoring = request.timings.prompt_tokens - 2;
  return request.score_prompt && slice.first <= last_scoring &&
         static_cast<int32_t>(request.prompt_scores.size()) <= last_scoring;
}

// Of the slice's rows, the last so many have logits.
int32_t Engine::State::LogitRows(const LiveRequest& request, const Slice& slice) {
  if (WantsScores(request, slice)) return slice.count + slice.drafted;
  return slice.samples ? 1 + slice.drafted : 0;
}

// `logits`: of all the slice's rows. The row of position p scores the token at p + 1.
void Engine::State::ScorePrompt(LiveRequest& request, const Slice& slice,
                                MatrixView<const float> logits) {
  const int32_t end = std::min(slice.first + slice.count, request.timings.prompt_tokens - 1);
  auto next = static_cast<int32_t>(request.prompt_scores.size());
  CHECK(slice.first <= next);
  for (; next < end; ++next) {
    const std::span<const float> row(logits.row(next - slice.first),
                                     static_cast<size_t>(logits.columns));
    const TokenId token = request.tokens[static_cast<size_t>(next) + 1];
    request.prompt_scores.push_back(request.sampler.Score(row, token));
  }
}

}  // namespace millrace
