// ReducePrompt: of the passages that a request carries, the fewest that still hold the answer.
//
// Long documents are cut at sentence ends, passages ranked by BM25, near-duplicates dropped; those
// are kept that score at least `ratio` of the best, within a minimum, a maximum and a token budget.
// The kept ones come in an order that does not depend on the question, so that prompts begin alike
// and the prefix cache finds them.
//
// Invariant: deterministic; kept passages are pieces of the given documents, unchanged unless they
// are pruned. Where no
// passage has a word of the question there is nothing to judge by: all are kept that the budget
// allows (in mode kTop the first `most`); else only passages with one are. A budget is kept even
// below the minimum, but the best passage stays. May change answers: `margin` says how near to the
// cut the first dropped passage was.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/candidates.h"
#include "prompt_reduction/passage.h"
#include "prompt_reduction/reuse_order.h"
#include "prompt_reduction/token_pruning.h"

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
  kReuse,      // as earlier prompts began (ReuseOrder), else as kDocument
};

struct ReductionConfig {
  ReductionMode mode = ReductionMode::kAuto;
  double ratio = 0.65;  // of the best score; docs/benchmarks/prompt-reduction.md
  size_t least = 2;
  size_t most = 10;
  std::optional<int64_t> token_budget;  // for the passages
  double duplicate_likeness = 0.8;      // Jaccard of 5-word sequences; above 1: keeps duplicates
  double diversity_lambda = 1;          // maximal marginal relevance of the 100 best; 1: off
  size_t chunk_tokens = 200;  // documents of more than twice as many are cut into such pieces
  PassageOrder order = PassageOrder::kDocument;
  // Of kept passages only the sentences that score at least so much of their best
  // (sentence_extraction.h); absent: whole passages.
  std::optional<double> sentence_ratio;
  // Of their tokens about so many, from 0 to 1: words that a model could have guessed are left out
  // (token_pruning.h); absent: all.
  std::optional<double> prune_ratio;
};

// What reduction may be given beside its configuration.
struct ReductionHelpers {
  PassageModels models;
  ReuseOrder* reuse = nullptr;  // for PassageOrder::kReuse; must outlive the call
  uint64_t reuse_root = 0;      // prompts that may share a beginning
  SurpriseModel surprise;       // for prune_ratio; absent: nothing is pruned
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
inline constexpr size_t kPassageFates = 9;
std::string_view NameOf(PassageFate fate);  // "best", "below_cut"
constexpr bool IsKept(PassageFate fate) { return fate < PassageFate::kBelowCut; }

struct JudgedPassage {
  Passage passage;
  double score = 0;
  PassageFate fate = PassageFate::kAll;
  int64_t tokens = 0;
  size_t bytes = 0;  // of the document's text that it is, from passage.begin; of kept ones
};

struct ReducedPrompt {
  std::vector<JudgedPassage> kept;           // in the order of the prompt
  std::array<size_t, kPassageFates> fate{};  // how many passages had which
  int64_t tokens_before = 0;                 // of all passages, and of those kept
  int64_t tokens_after = 0;
  int64_t pruned_tokens = 0;  // that pruning took from those kept
  // (the lowest kept score - the highest dropped) / best, at least 0; absent where nothing was
  // dropped or nothing was scored. A dropped duplicate of a kept passage is no risk: not counted.
  std::optional<double> margin;
  double best_score = 0;    // 0 where no passage has a word of the question
  double best_dropped = 0;  // its score; 0 where there is none

  size_t passages() const;
  size_t dropped() const { return passages() - kept.size(); }
};

// The tokens of a passage as it stands in a prompt (NumberedLine).
using TokenCounter = std::function<int64_t(std::string_view)>;

// Sets `document` of the passages to their index. An error only where SQLite cannot do full-text
// search, or a model fails.
Result<ReducedPrompt> ReducePrompt(std::string_view question, std::span<const Passage> documents,
                                   const ReductionConfig& config, const TokenCounter& count,
                                   const ReductionHelpers& helpers = {});

// Among what a store holds on the question: kStoreDepth passages are judged, in mode kOff the best
// kStoreOff taken.
inline constexpr size_t kStoreDepth = 50;
inline constexpr size_t kStoreOff = 10;
Result<ReducedPrompt> ReduceFromStore(PassageStore& store, std::string_view question,
                                      const ReductionConfig& config, const TokenCounter& count,
                                      const ReductionHelpers& helpers = {});

// The same for passages that are ranked, without pruning. In mode kOff the ranking does not count.
ReducedPrompt ReduceRanked(Candidates candidates, const ReductionConfig& config,
                           const TokenCounter& count, const ReductionHelpers& helpers = {});

}  // namespace millrace
