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

void SortBestFirst(std::vector<RankedPassage>& ranking) {
  std::stable_sort(
      ranking.begin(), ranking.end(),
      [](const RankedPassage& a, const RankedPassage& b) { return a.score > b.score; });
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
// `asked`: of which passages there are cosines; not empty.
void FuseCosines(std::span<const size_t> asked, std::span<const double> cosines,
                 Candidates& candidates) {
  double mean = 0;
  for (const double cosine : cosines) mean += cosine / static_cast<double>(cosines.size());
  const double above = *std::max_element(cosines.begin(), cosines.end()) - mean;
  std::vector<RankedPassage> similar;
  for (size_t i = 0; i < asked.size(); ++i) similar.push_back({asked[i], cosines[i]});
  SortBestFirst(similar);
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
}

Status FuseSimilarity(std::string_view question, const PassageModels& models,
                      Candidates& candidates) {
  const std::vector<size_t> asked = BestFirst(candidates, kMostSimilar);
  if (asked.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<double> cosines,
                   Ask(models.similarity, question, Selected(candidates, asked)));
  FuseCosines(asked, cosines, candidates);
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
  SortBestFirst(ranking);
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
  std::vector<size_t> with_vectors;
  std::vector<double> cosines;
  for (FoundPassage& f : found) {
    const size_t i = candidates.passages.size();
    if (f.score > 0) candidates.ranking.push_back({i, f.score});
    if (f.cosine) {
      with_vectors.push_back(i);
      cosines.push_back(*f.cosine);
    }
    f.passage.document = i;
    candidates.passages.push_back(std::move(f.passage));
  }
  candidates.words = ReadTerms(reader, candidates.passages).words;
  PassageModels others = models;
  if (!cosines.empty()) {
    FuseCosines(with_vectors, cosines, candidates);
    others.similarity = nullptr;
  }
  RETURN_IF_ERROR(AskModels(question, others, candidates));
  return candidates;
}

Result<std::vector<FoundPassage>> FindInStore(PassageStore& store, std::string_view question,
                                              size_t most) {
  const size_t depth = std::max(most, kFusedDepth);
  ASSIGN_OR_RETURN(auto found, store.Search(question, depth));
  std::vector<RankedPassage> rankings[2];  // by words, by vectors
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].score > 0) rankings[0].push_back({i, found[i].score});
    if (found[i].cosine) rankings[1].push_back({i, *found[i].cosine});
  }
  SortBestFirst(rankings[1]);
  rankings[1].resize(std::min(rankings[1].size(), depth));
  const bool fused = !rankings[1].empty();
  std::vector<FoundPassage> best;
  for (const RankedPassage& r : fused ? FuseRanks(rankings) : rankings[0]) {
    if (best.size() == most) break;
    best.push_back(std::move(found[r.passage]));
    best.back().score = r.score;
  }
  return best;
}

}  // namespace millrace
