#include "speculative_decoding/verify_draft.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "sampling/logit_scan.h"

namespace millrace {

namespace {

// The next token, which the sampler and the matcher are told of; or why there is none.
Result<Sampled> NextToken(std::span<const float> logits, int64_t position, Sampler& sampler,
                          OutputMatcher* matcher) {
  std::shared_ptr<const TokenMask> mask;
  if (matcher != nullptr) {
    ASSIGN_OR_RETURN(mask, matcher->Mask());
  }
  Sampled sampled =
      sampler.Sample(logits, position, mask ? mask->words() : std::span<const uint64_t>());
  if (matcher != nullptr && !matcher->Take(sampled.token)) {
    return Error{"The model gives no token that the grammar allows here a probability above zero.",
                 ErrorKind::kUnsupported};
  }
  sampler.Observe(sampled.token);
  return sampled;
}

}  // namespace

Verdict VerifyDraft(std::span<const TokenId> draft, MatrixView<const float> logits,
                    int64_t position, std::span<const TokenId> stop_tokens, int32_t limit,
                    Sampler& sampler, OutputMatcher* matcher) {
  CHECK(logits.rows == static_cast<int64_t>(draft.size()) + 1 && limit >= 1);
  const auto ends = [&](TokenId token) {
    return std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end() ||
           (matcher != nullptr && (matcher->IsEnd(token) || matcher->IsFinished()));
  };
  Verdict verdict;
  for (int64_t row = 0; row < logits.rows; ++row) {
    const std::span values(logits.row(row), static_cast<size_t>(logits.columns));
    if (HasNan(values)) {
      verdict.end = VerdictEnd::kNan;
      break;
    }
    Result<Sampled> sampled = NextToken(values, position + row, sampler, matcher);
    if (!sampled.ok()) {
      verdict.end = VerdictEnd::kStuck;
      verdict.message = sampled.error().message;
      break;
    }
    const TokenId token = sampled->token;
    verdict.tokens.push_back(std::move(*sampled));
    const bool was_proposed = row + 1 < logits.rows && token == draft[static_cast<size_t>(row)];
    if (was_proposed) ++verdict.accepted;
    if (ends(token)) {
      verdict.end = VerdictEnd::kStop;
      break;
    }
    if (row + 1 >= limit) {
      verdict.end = VerdictEnd::kLimit;
      break;
    }
    if (!was_proposed) break;
  }
  return verdict;
}

}  // namespace millrace
