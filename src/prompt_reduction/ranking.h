// Rankings of passages for a question, and what is done with them: BM25 over a request's own
// passages, reciprocal rank fusion, near-duplicates, maximal marginal relevance.
//
// Invariant: every ranking is best first, equal scores in the order of the passages, so that it
// depends on nothing but its input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage.h"

namespace millrace {

struct RankedPassage {
  size_t passage = 0;  // index
  double score = 0;
};

// The words of passages as 64-bit hashes: what scores and likeness are computed from.
struct PassageTerms {
  std::vector<uint64_t> question;            // without repetition
  std::vector<std::vector<uint64_t>> words;  // of each passage, its title first, in order
  std::vector<size_t> title_words;           // how many of them are the title's
};
Result<PassageTerms> ReadTerms(std::string_view question, std::span<const Passage> passages);

// Okapi BM25 (Robertson and Zaragoza 2009) with k1 = 1.2, b = 0.75, as in FTS5, but
// idf = ln(1 + (N - n + 0.5) / (n + 0.5)), which stays above 0 for words of more than half of the
// passages: in the few passages of a request those decide, too. A word of the title counts twice.
// Passages without a word of the question are left out.
std::vector<RankedPassage> RankByBm25(const PassageTerms& terms);

// Reciprocal rank fusion (Cormack et al. 2009): the sum over rankings of 1 / (k + rank), ranks from
// 1. Its scores say nothing about how relevant a passage is: never cut on them.
std::vector<RankedPassage> FuseRankings(std::span<const std::vector<RankedPassage>> rankings,
                                        double k = 60);

// The share of 5-word sequences that two passages have in common (Jaccard), as sorted hashes;
// passages of fewer words are one sequence.
std::vector<uint64_t> Shingles(std::span<const uint64_t> words);
double Jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b);

// Maximal marginal relevance (Carbonell and Goldstein 1998): the ranking in the order in which
// lambda * score / best - (1 - lambda) * likeness to what was taken before is greatest. `lambda` 1
// leaves it as it is. Scores stay. `shingles` of each passage that is ranked.
std::vector<RankedPassage> Diversify(std::vector<RankedPassage> ranking,
                                     std::span<const std::vector<uint64_t>> shingles,
                                     double lambda);

}  // namespace millrace
