// VerifyDraft: which of the proposed tokens stay, and the token that follows them.
//
// Invariant: the tokens are those that plain decoding gives, one for one, at every temperature and
// with every sampler setting. At each position the target draws its own token, as the request's
// sampler would without a draft (a function of logits, own tokens, seed and position); a proposed
// token stays where it is the token drawn, and the first draw that differs takes the place of the
// rest.
//
// This is rejection sampling (Leviathan et al. 2023; Chen et al. 2023) for proposals without
// randomness of their own: a proposal x is accepted with the probability p(x), and what stands in
// its place is distributed as p without x, renormalised; only that the accepting draw and the
// correcting one are the same draw, which keeps the seed's tokens as well as their distribution.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/matrix.h"
#include "constrained_output/output_grammar.h"
#include "sampling/sampler.h"

namespace millrace {

enum class VerdictEnd {
  kGoesOn,
  kStop,   // the last token is one of the stop tokens, or nothing may follow it
  kLimit,  // as many tokens as were allowed
  kNan,    // the logits of the next position hold NaN: no token comes from them
  kStuck,  // the matcher allows no token next
};

struct Verdict {
  std::vector<Sampled> tokens;  // at least one, unless kNan or kStuck
  int32_t accepted = 0;         // of them, so many from the front were proposed
  VerdictEnd end = VerdictEnd::kGoesOn;
  std::string message = {};  // of kStuck
};

// `logits`: draft.size() + 1 rows; row i is that of `position` + i, where tokens[i] of the result
// stands in the sequence. An empty draft is plain sampling. `sampler` is told of every token of the
// result. At most `limit` tokens, at least 1, are kept, and none after a stop token. `matcher`, if
// any, says at each position which tokens may come, takes those of the result, and ends with an end
// token of its vocabulary or where nothing may follow.
Verdict VerifyDraft(std::span<const TokenId> draft, MatrixView<const float> logits,
                    int64_t position, std::span<const TokenId> stop_tokens, int32_t limit,
                    Sampler& sampler, OutputMatcher* matcher = nullptr);

}  // namespace millrace
