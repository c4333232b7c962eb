// Of a passage, the words that say something: those that a model could have guessed are left out
// (self-information, Li et al. 2023, "Compressing Context to Enhance Inference Efficiency of Large
// Language Models", section 3; at the level of tokens Jiang et al. 2023, "LLMLingua").
//
// Invariant: what is left is words of the text in their order, unchanged, at least one where there
// was one. Words of the question, words with a digit and the first word stay. A text without spaces
// stays whole.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

struct ScoredToken {
  size_t end = 0;   // where it ends in its text, in bytes
  double nats = 0;  // -ln of its probability behind those before; the first token's is great
};
// The tokens of each text, in order; none of a text that cannot be scored, which then stays whole.
using SurpriseModel = std::function<Result<std::vector<std::vector<ScoredToken>>>(
    std::span<const std::string> texts)>;

// Leaves out words, the least surprising first, while more than `ratio` of the tokens stand; a
// word's surprise is that of its most surprising token. `stays`: whether a word must stay.
std::string PruneText(std::string_view text, std::span<const ScoredToken> tokens, double ratio,
                      const std::function<bool(std::string_view word)>& stays);

}  // namespace millrace
