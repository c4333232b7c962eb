// Of a passage, the sentences that speak of the question.
//
// Invariant: what is left is one piece of the passage, unchanged: from the first to the last
// sentence that scores at least `ratio` of the passage's best, and the sentence before, which says
// whom "she" means. A passage without a word of the question stays whole.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "prompt_reduction/passage.h"
#include "prompt_reduction/search_terms.h"

namespace millrace {

// Sentences are scored by BM25 among those of all `passages`; a passage's title counts for none.
// Cuts `text` and moves `begin`.
void ExtractSentences(TermReader& reader, std::string_view question, double ratio,
                      std::span<Passage* const> passages);

}  // namespace millrace
