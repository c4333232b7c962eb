#include "prompt_reduction/candidates.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

constexpr size_t kFusedDepth = 50;  // of each ranking

std::vector<Passage> CutDocuments(std::span<const Passage> documents, size_t chunk_tokens) {
  std::vector<Passage> passages;
  for (size_t i = 0; i < documents.size(); ++i) {
    const Passage& document = documents[i];
    for (const TextSpan& span : CutIntoPassages(document.text, chunk_tokens)) {
      passages.push_back({document.id, document.title,
                          document.text.substr(span.begin, span.end - span.begin), i,
                          document.begin + span.begin});
    }
  }
  return passages;
}

std::vector<Passage> Selected(const Candidates& candidates, std::span<const size_t> which) {
  std::vector<Passage> passages;
  for (const size_t i : which) passages.push_back(candidates.passages[i]);
  return passages;
}

Result<std::vector<double>> Ask(const PassageModels::Judge& judge, std::string_view question,
                                const std::vector<Passage>& passages) {
  ASSIGN_OR_RETURN(std::vector<double> scores, judge(question, passages));
  if (scores.size() != passages.size()) {
    return Error{"A model judged another number of passages than it was given",
                 ErrorKind::kInternal};
  }
  for (double& score : scores) score = std::isfinite(score) ? score : 0;
  return scores;
}

// Those with the best words first, then the others in their order.
std::vector<size_t> BestFirst(const Candidates& candidates, size_t most) {
  std::vector<size_t> order;
  std::vector<bool> taken(candidates.passages.size());
  for (const RankedPassage& ranked : candidates.ranking) {
    if (order.size() == most) return order;
    order.push_back(ranked.passage);
    taken[ranked.passage] = true;
  }
  for (size_t i = 0; i < taken.size() && order.size() < most; ++i) {
    if (!taken[i]) order.push_back(i);
  }
  return order;
}

// By fused ranks; scores as shares of the best: BM25's, or how far a cosine is above the mean of
// all, whichever is more. Cosines themselves lie close together, so a share of the best cuts none.
Status FuseSimilarity(std::string_view question, const PassageModels& models,
                      Candidates& candidates) {
  const std::vector<size_t> asked = BestFirst(candidates, kMostSimilar);
  if (asked.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<double> cosines,
                   Ask(models.similarity, question, Selected(candidates, asked)));
  double mean = 0;
  for (const double cosine : cosines) mean += cosine / static_cast<double>(cosines.size());
  const double above = *std::max_element(cosines.begin(), cosines.end()) - mean;
  std::vector<RankedPassage> similar;
  for (size_t i = 0; i < asked.size(); ++i) similar.push_back({asked[i], cosines[i]});
  std::stable_sort(
      similar.begin(), similar.end(),
      [](const RankedPassage& a, const RankedPassage& b) { return a.score > b.score; });
  std::vector<double> share(candidates.passages.size());
  const double best = candidates.ranking.empty() ? 0 : candidates.ranking.front().score;
  for (const RankedPassage& r : candidates.ranking) share[r.passage] = r.score / best;
  for (const RankedPassage& r : similar) {
    if (above > 0) share[r.passage] = std::max(share[r.passage], (r.score - mean) / above);
  }
  std::vector<RankedPassage> rankings[] = {std::move(candidates.ranking), std::move(similar)};
  for (auto& ranking : rankings) ranking.resize(std::min(ranking.size(), kFusedDepth));
  candidates.ranking = FuseRanks(rankings);
  for (RankedPassage& r : candidates.ranking) r.score = share[r.passage];
  return {};
}

// What is not among the first is below all of them.
Status Rerank(std::string_view question, const PassageModels& models, Candidates& candidates) {
  std::vector<size_t> asked;
  for (const RankedPassage& r : candidates.ranking) {
    if (asked.size() < kMostRelevant) asked.push_back(r.passage);
  }
  if (asked.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<double> scores,
                   Ask(models.relevance, question, Selected(candidates, asked)));
  std::vector<RankedPassage> ranking;
  for (size_t i = 0; i < asked.size(); ++i) ranking.push_back({asked[i], std::max(scores[i], 0.0)});
  std::stable_sort(
      ranking.begin(), ranking.end(),
      [](const RankedPassage& a, const RankedPassage& b) { return a.score > b.score; });
  candidates.ranking = std::move(ranking);
  return {};
}

Status AskModels(std::string_view question, const PassageModels& models, Candidates& candidates) {
  if (models.similarity) RETURN_IF_ERROR(FuseSimilarity(question, models, candidates));
  if (models.relevance) RETURN_IF_ERROR(Rerank(question, models, candidates));
  return {};
}

}  // namespace

Result<Candidates> CandidatesOf(std::string_view question, std::span<const Passage> documents,
                                size_t chunk_tokens, const PassageModels& models) {
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  Candidates candidates;
  candidates.question = std::string(question);
  candidates.passages = CutDocuments(documents, chunk_tokens);
  PassageTerms terms = ReadTerms(reader, candidates.passages);
  candidates.ranking = RankByBm25(ReadQuestion(reader, question), terms);
  candidates.words = std::move(terms.words);
  RETURN_IF_ERROR(AskModels(question, models, candidates));
  return candidates;
}

Result<Candidates> CandidatesFrom(PassageStore& store, std::string_view question, size_t most,
                                  const PassageModels& models) {
  ASSIGN_OR_RETURN(auto found, store.Search(question, most));
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  Candidates candidates;
  candidates.question = std::string(question);
  for (FoundPassage& f : found) {
    candidates.ranking.push_back({candidates.passages.size(), f.score});
    f.passage.document = candidates.passages.size();
    candidates.passages.push_back(std::move(f.passage));
  }
  candidates.words = ReadTerms(reader, candidates.passages).words;
  RETURN_IF_ERROR(AskModels(question, models, candidates));
  return candidates;
}

}  // namespace millrace
