// ReducePrompt: of the passages that a request carries, the fewest that still hold the answer.
//
// Long documents are cut at sentence ends, passages ranked by BM25, near-duplicates dropped; those
// are kept that score at least `ratio` of the best, within a minimum, a maximum and a token budget.
// The kept ones come in an order that does not depend on the question, so that prompts begin alike
// and the prefix cache finds them.
//
// Invariant: deterministic; kept passages are pieces of the given documents, unchanged. Where no
// passage has a word of the question there is nothing to judge by: all are kept that the budget
// allows. A budget is kept even below the minimum, but the best passage stays. May change answers:
// `risk` says how near to the cut the first dropped passage was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage.h"

namespace millrace {

enum class ReductionMode {
  kOff,   // every passage as it was given
  kAuto,  // by the ratio
  kTop,   // the `most` best
};
enum class PassageOrder {
  kDocument,   // by id, numbers in it by value, then by place in the document
  kGiven,      // as the request has them
  kRelevance,  // best first
};

struct ReductionConfig {
  ReductionMode mode = ReductionMode::kAuto;
  double ratio = 0.6;  // of the best score
  size_t least = 2;
  size_t most = 10;
  std::optional<int64_t> token_budget;  // for the passages
  double duplicate_likeness = 0.8;      // Jaccard of 5-word sequences; above 1: keeps duplicates
  double diversity_lambda = 1;          // maximal marginal relevance; 1: off
  size_t chunk_tokens = 200;            // longer documents are cut into pieces of about so many
  PassageOrder order = PassageOrder::kDocument;
};

// Why a passage was kept or dropped.
enum class PassageFate {
  kBest,       // kept: the best score
  kScore,      // kept: at least the ratio
  kMinimum,    // kept: to have `least`
  kTop,        // kept: among the `most` best
  kAll,        // kept: nothing was to be dropped
  kBelowCut,   // dropped: score
  kMaximum,    // dropped: `most` are there
  kBudget,     // dropped: no room
  kDuplicate,  // dropped: like a kept one
};
std::string_view NameOf(PassageFate fate);

struct JudgedPassage {
  Passage passage;
  double score = 0;
  PassageFate fate = PassageFate::kAll;
  int64_t tokens = 0;
};

struct ReducedPrompt {
  std::vector<JudgedPassage> kept;  // in the order of the prompt
  size_t dropped = 0;
  int64_t tokens_before = 0;  // of all passages, and of those kept
  int64_t tokens_after = 0;
  // (the lowest kept score - the highest dropped) / best, at least 0; absent where nothing was
  // dropped. A dropped duplicate of a kept passage is no risk and does not count.
  std::optional<double> margin;
  double best_score = 0;
  double best_dropped = 0;  // its score; 0 where there is none
};

using TokenCounter = std::function<int64_t(std::string_view)>;

Result<ReducedPrompt> ReducePrompt(std::string_view question, std::span<const Passage> documents,
                                   const ReductionConfig& config, const TokenCounter& count);

// "1. b" before "1. a10", "a9" before "a10": numbers by value, the rest by bytes.
bool NaturallyLess(std::string_view a, std::string_view b);

// "[1] Title: text", a line each: the form that the demo model was taught, and a common one.
std::string NumberedLine(size_t number, const Passage& passage);
std::string NumberedText(std::span<const JudgedPassage> passages);

}  // namespace millrace
