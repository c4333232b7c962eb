#include "speculative_decoding/verify_draft.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "sampling/logit_scan.h"

namespace millrace {

Verdict VerifyDraft(std::span<const TokenId> draft, MatrixView<const float> logits,
                    int64_t position, std::span<const TokenId> stop_tokens, int32_t limit,
                    Sampler& sampler) {
  CHECK(logits.rows == static_cast<int64_t>(draft.size()) + 1 && limit >= 1);
  Verdict verdict;
  for (int64_t row = 0; row < logits.rows; ++row) {
    const std::span values(logits.row(row), static_cast<size_t>(logits.columns));
    if (HasNan(values)) {
      verdict.end = VerdictEnd::kNan;
      break;
    }
    Sampled sampled = sampler.Sample(values, position + row);
    const TokenId token = sampled.token;
    sampler.Observe(token);
    verdict.tokens.push_back(std::move(sampled));
    const bool was_proposed = row + 1 < logits.rows && token == draft[static_cast<size_t>(row)];
    if (was_proposed) ++verdict.accepted;
    if (std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end()) {
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
