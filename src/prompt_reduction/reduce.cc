#include "prompt_reduction/reduce.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

constexpr size_t kMostToDiversify = 100;  // which takes the square of it

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

void DiversifyBest(std::vector<RankedPassage>& ranking,
                   std::span<const std::vector<uint64_t>> words, double lambda) {
  const auto end =
      ranking.begin() + static_cast<std::ptrdiff_t>(std::min(ranking.size(), kMostToDiversify));
  std::vector<RankedPassage> best(ranking.begin(), end);
  std::vector<std::vector<uint64_t>> shingles;
  for (const RankedPassage& ranked : best) shingles.push_back(Shingles(words[ranked.passage]));
  best = Diversify(std::move(best), shingles, lambda);
  std::copy(best.begin(), best.end(), ranking.begin());
}

// Who stays. Works on passages by index; `judged` takes the fates.
class Selection {
 public:
  Selection(const ReductionConfig& config, std::vector<JudgedPassage>& judged)
      : config_(config), judged_(judged) {}

  // By the ranking; passages that are not in it are below the cut.
  void Choose(const std::vector<RankedPassage>& ranking,
              std::span<const std::vector<uint64_t>> words) {
    const double best = ranking.front().score;
    std::vector<std::vector<uint64_t>> kept_shingles;
    for (const RankedPassage& ranked : ranking) {
      JudgedPassage& judged = judged_[ranked.passage];
      judged.score = ranked.score;
      judged.fate = FateByScore(ranked.score, best);
      if (!IsKept(judged.fate)) continue;
      std::vector<uint64_t> shingles = Shingles(words[ranked.passage]);
      const auto alike = [&](const std::vector<uint64_t>& other) {
        return Jaccard(shingles, other) >= config_.duplicate_likeness;
      };
      if (std::any_of(kept_shingles.begin(), kept_shingles.end(), alike)) {
        judged.fate = PassageFate::kDuplicate;
      } else if (!Fits(judged.tokens)) {
        judged.fate = PassageFate::kBudget;
      } else {
        kept_shingles.push_back(std::move(shingles));
        Keep(ranked.passage);
      }
    }
  }

  // Without a ranking: all that fit, or the first `most`.
  void ChooseUnranked() {
    const bool top = config_.mode == ReductionMode::kTop;
    for (size_t i = 0; i < judged_.size(); ++i) {
      if (top && kept_.size() >= config_.most) {
        judged_[i].fate = PassageFate::kMaximum;
      } else if (!Fits(judged_[i].tokens)) {
        judged_[i].fate = PassageFate::kBudget;
      } else {
        judged_[i].fate = top ? PassageFate::kTop : PassageFate::kAll;
        Keep(i);
      }
    }
  }

  const std::vector<size_t>& kept() const { return kept_; }

 private:
  PassageFate FateByScore(double score, double best) const {
    if (kept_.size() >= std::max<size_t>(config_.most, 1)) return PassageFate::kMaximum;
    if (kept_.empty()) return PassageFate::kBest;
    if (config_.mode == ReductionMode::kTop) return PassageFate::kTop;
    if (score >= config_.ratio * best) return PassageFate::kScore;
    return kept_.size() < config_.least ? PassageFate::kMinimum : PassageFate::kBelowCut;
  }
  bool Fits(int64_t tokens) const {
    return !config_.token_budget || kept_.empty() || used_ + tokens <= *config_.token_budget;
  }
  void Keep(size_t passage) {
    kept_.push_back(passage);
    used_ += judged_[passage].tokens;
  }

  const ReductionConfig& config_;
  std::vector<JudgedPassage>& judged_;
  std::vector<size_t> kept_;  // best first
  int64_t used_ = 0;
};

void Order(PassageOrder order, const std::vector<JudgedPassage>& judged,
           std::vector<size_t>& kept) {
  if (order == PassageOrder::kRelevance) return;
  std::sort(kept.begin(), kept.end());
  if (order == PassageOrder::kGiven) return;
  std::stable_sort(kept.begin(), kept.end(), [&](size_t a, size_t b) {
    return NaturallyLess(judged[a].passage.id, judged[b].passage.id);
  });
}

void MeasureRisk(const std::vector<JudgedPassage>& judged, ReducedPrompt& reduced) {
  double lowest_kept = reduced.best_score;
  bool risk = false;
  for (const JudgedPassage& j : judged) {
    if (IsKept(j.fate)) {
      lowest_kept = std::min(lowest_kept, j.score);
    } else if (j.fate != PassageFate::kDuplicate) {
      risk = true;
      reduced.best_dropped = std::max(reduced.best_dropped, j.score);
    }
  }
  if (!risk || reduced.best_score <= 0) return;
  reduced.margin = std::max(lowest_kept - reduced.best_dropped, 0.0) / reduced.best_score;
}

}  // namespace

std::string_view NameOf(PassageFate fate) {
  switch (fate) {
    case PassageFate::kBest:
      return "best";
    case PassageFate::kScore:
      return "score";
    case PassageFate::kMinimum:
      return "minimum";
    case PassageFate::kTop:
      return "top";
    case PassageFate::kAll:
      return "all";
    case PassageFate::kBelowCut:
      return "below_cut";
    case PassageFate::kMaximum:
      return "maximum";
    case PassageFate::kBudget:
      return "budget";
    case PassageFate::kDuplicate:
      return "duplicate";
  }
  return "unknown";
}

size_t ReducedPrompt::passages() const {
  return std::accumulate(fate.begin(), fate.end(), size_t{0});
}

ReducedPrompt ReduceRanked(std::vector<Passage> passages, std::vector<RankedPassage> ranking,
                           std::span<const std::vector<uint64_t>> words,
                           const ReductionConfig& config, const TokenCounter& count) {
  ReducedPrompt reduced;
  std::vector<JudgedPassage> judged(passages.size());
  for (size_t i = 0; i < passages.size(); ++i) {
    judged[i].tokens = count(NumberedLine(i + 1, passages[i].title, passages[i].text));
    judged[i].passage = std::move(passages[i]);
    judged[i].fate = PassageFate::kBelowCut;
    reduced.tokens_before += judged[i].tokens;
  }
  Selection selection(config, judged);
  if (ranking.empty()) {
    selection.ChooseUnranked();
  } else {
    reduced.best_score = ranking.front().score;
    if (config.diversity_lambda < 1) DiversifyBest(ranking, words, config.diversity_lambda);
    selection.Choose(ranking, words);
  }
  MeasureRisk(judged, reduced);
  for (const JudgedPassage& j : judged) ++reduced.fate[static_cast<size_t>(j.fate)];
  std::vector<size_t> kept = selection.kept();
  Order(config.mode == ReductionMode::kOff ? PassageOrder::kGiven : config.order, judged, kept);
  for (const size_t i : kept) {
    JudgedPassage& j = reduced.kept.emplace_back(std::move(judged[i]));
    if (reduced.kept.size() != i + 1) {  // it has another number now
      j.tokens = count(NumberedLine(reduced.kept.size(), j.passage.title, j.passage.text));
    }
    reduced.tokens_after += j.tokens;
  }
  return reduced;
}

Result<ReducedPrompt> ReducePrompt(std::string_view question, std::span<const Passage> documents,
                                   const ReductionConfig& config, const TokenCounter& count) {
  if (config.mode == ReductionMode::kOff) {
    std::vector<Passage> passages(documents.begin(), documents.end());
    for (size_t i = 0; i < passages.size(); ++i) passages[i].document = i;
    return ReduceRanked(std::move(passages), {}, {}, config, count);
  }
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  std::vector<Passage> passages = CutDocuments(documents, config.chunk_tokens);
  const PassageTerms terms = ReadTerms(reader, passages);
  std::vector<RankedPassage> ranking = RankByBm25(ReadQuestion(reader, question), terms);
  return ReduceRanked(std::move(passages), std::move(ranking), terms.words, config, count);
}

}  // namespace millrace
