// Rankings of passages for a question, and what is done with them: BM25 over a request's own
// passages, near-duplicates, maximal marginal relevance.
//
// Invariant: every ranking is best first, equal scores in the order of the passages, so that it
// depends on nothing but its input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "prompt_reduction/passage.h"
#include "prompt_reduction/search_terms.h"

namespace millrace {

struct RankedPassage {
  size_t passage = 0;  // index
  double score = 0;
};

// The words of passages as 64-bit hashes: what scores and likeness are computed from.
struct PassageTerms {
  std::vector<std::vector<uint64_t>> words;  // of each passage, its title first, in order
  std::vector<size_t> title_words;           // how many of them are the title's
};
PassageTerms ReadTerms(TermReader& reader, std::span<const Passage> passages);
uint64_t HashOfTerm(std::string_view term);
// The words of a question, each once, sorted.
std::vector<uint64_t> ReadQuestion(TermReader& reader, std::string_view question);

// Okapi BM25 (Robertson and Zaragoza 2009) with k1 = 1.2, b = 0.75, as in FTS5, but
// idf = ln(1 + (N - n + 0.5) / (n + 0.5)), which stays above 0 for words of more than half of the
// passages: in the few passages of a request those decide, too. A word of the title counts twice.
// Passages without a word of the question are left out. `counts`: of what the passages are a part
// of, for each word of the question; absent: counted in the passages themselves.
struct CorpusCounts {
  double passages = 0;
  double mean_length = 0;       // in words, the title's twice
  std::vector<double> holders;  // passages that have the word
};
std::vector<RankedPassage> RankByBm25(std::span<const uint64_t> question, const PassageTerms& terms,
                                      const CorpusCounts* counts = nullptr);

// Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009): a passage scores the sum of
// 1 / (60 + its rank, from 1) over the rankings that have it.
std::vector<RankedPassage> FuseRanks(std::span<const std::vector<RankedPassage>> rankings);

// The sequences of 5 words in a passage, as sorted hashes; a passage of fewer words is one
// sequence, one of none has none.
std::vector<uint64_t> Shingles(std::span<const uint64_t> words);
// The share that two passages have in common of all that they have; 0 where they have none.
double Jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b);

// Maximal marginal relevance (Carbonell and Goldstein 1998): the ranking in the order in which
// lambda * score / best - (1 - lambda) * likeness to what was taken before is greatest. `lambda` 1
// leaves it as it is. Scores stay. `shingles`: of the ranked passages, in the ranking's order.
std::vector<RankedPassage> Diversify(std::vector<RankedPassage> ranking,
                                     std::span<const std::vector<uint64_t>> shingles,
                                     double lambda);

}  // namespace millrace
