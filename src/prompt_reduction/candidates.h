// Candidates: the passages that may go into a prompt, ranked for its question: those of a request,
// or what a store holds on it.
//
// Where models judge passages, too, their ranking is joined with BM25's by reciprocal rank fusion
// (Cormack, Clarke and Buettcher 2009), the order; the scores that the cut is made by stay scores,
// since ranks say nothing of how far one passage is behind another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "prompt_reduction/passage.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/ranking.h"

namespace millrace {

struct Candidates {
  std::string question;
  std::vector<Passage> passages;
  std::vector<RankedPassage> ranking;        // best first; those that are not in it score 0
  std::vector<std::vector<uint64_t>> words;  // of each passage, for likeness
};

// What models say of passages for a question: a finite number for each, higher is better. Absent
// functions are not asked.
struct PassageModels {
  using Judge = std::function<Result<std::vector<double>>(std::string_view question,
                                                          std::span<const Passage> passages)>;
  Judge similarity;  // of an embedding model: cosines
  Judge relevance;   // of a cross-encoder: 0 to 1
};
inline constexpr size_t kMostSimilar = 200;  // passages that `similarity` is asked about
inline constexpr size_t kMostRelevant = 20;  // and `relevance`, the best so far

// Long documents are cut (CutIntoPassages); `document` of a passage is the index of its document.
Result<Candidates> CandidatesOf(std::string_view question, std::span<const Passage> documents,
                                size_t chunk_tokens, const PassageModels& models = {});
// The best `most` passages of the store by words and, where its vectors are searched, by them,
// whose cosines then stand for `models.similarity`; `document` counts them.
Result<Candidates> CandidatesFrom(PassageStore& store, std::string_view question, size_t most,
                                  const PassageModels& models = {});

// What a search of the store answers, best first, at most `most`: by BM25; where vectors are
// searched, by both rankings, fused, with the fused ranks as scores.
Result<std::vector<FoundPassage>> FindInStore(PassageStore& store, std::string_view question,
                                              size_t most);

}  // namespace millrace
