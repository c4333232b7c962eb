#include "prompt_reduction/reduce.h"

#include <algorithm>
#include <utility>

#include "prompt_reduction/ranking.h"
#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view TakeDigits(std::string_view& text) {
  size_t end = 0;
  while (end < text.size() && IsDigit(text[end])) ++end;
  std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size());
  return digits.substr(first);
}

std::vector<Passage> CutDocuments(std::span<const Passage> documents, size_t chunk_tokens) {
  std::vector<Passage> passages;
  for (const Passage& document : documents) {
    if (EstimateTokens(document.text) <= 2 * chunk_tokens) {
      passages.push_back(document);
      continue;
    }
    for (const TextSpan& span : ChunkAtSentences(document.text, chunk_tokens)) {
      passages.push_back({document.id, document.title,
                          document.text.substr(span.begin, span.end - span.begin),
                          document.begin + span.begin});
    }
  }
  return passages;
}

// Who stays. Works on passages by index; `judged` takes the fates.
class Selection {
 public:
  Selection(const ReductionConfig& config, std::vector<JudgedPassage>& judged)
      : config_(config), judged_(judged) {}

  // By the ranking, best first; passages behind its end score 0.
  void Choose(const std::vector<RankedPassage>& ranking, const PassageTerms& terms) {
    const double best = ranking.front().score;
    std::vector<std::vector<uint64_t>> kept_shingles;
    for (const RankedPassage& ranked : ranking) {
      JudgedPassage& judged = judged_[ranked.passage];
      judged.score = ranked.score;
      judged.fate = FateByScore(ranked.score, best);
      if (!IsKept(judged.fate)) continue;
      std::vector<uint64_t> shingles = Shingles(terms.words[ranked.passage]);
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

  // Without a ranking: all that fit.
  void ChooseAll() {
    for (size_t i = 0; i < judged_.size(); ++i) {
      if (!Fits(judged_[i].tokens)) {
        judged_[i].fate = PassageFate::kBudget;
      } else {
        judged_[i].fate = PassageFate::kAll;
        Keep(i);
      }
    }
  }

  const std::vector<size_t>& kept() const { return kept_; }

  static bool IsKept(PassageFate fate) { return fate < PassageFate::kBelowCut; }

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

bool NaturallyLess(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    if (IsDigit(a[0]) && IsDigit(b[0])) {
      const std::string_view x = TakeDigits(a), y = TakeDigits(b);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[0] != b[0]) return static_cast<unsigned char>(a[0]) < static_cast<unsigned char>(b[0]);
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
  }
  return a.empty() && !b.empty();
}

std::string NumberedLine(size_t number, const Passage& passage) {
  std::string line = "[" + std::to_string(number) + "] ";
  if (!passage.title.empty()) line += passage.title + ": ";
  return line + passage.text;
}

std::string NumberedText(std::span<const JudgedPassage> passages) {
  std::string text;
  for (size_t i = 0; i < passages.size(); ++i) {
    if (i > 0) text += '\n';
    text += NumberedLine(i + 1, passages[i].passage);
  }
  return text;
}

Result<ReducedPrompt> ReducePrompt(std::string_view question, std::span<const Passage> documents,
                                   const ReductionConfig& config, const TokenCounter& count) {
  const bool off = config.mode == ReductionMode::kOff;
  std::vector<Passage> passages = off ? std::vector<Passage>(documents.begin(), documents.end())
                                      : CutDocuments(documents, config.chunk_tokens);
  ReducedPrompt reduced;
  std::vector<RankedPassage> ranking;
  PassageTerms terms;
  if (!off) {
    ASSIGN_OR_RETURN(terms, ReadTerms(question, passages));
    ranking = RankByBm25(terms);
    if (config.diversity_lambda < 1) {
      std::vector<std::vector<uint64_t>> shingles;
      for (const auto& words : terms.words) shingles.push_back(Shingles(words));
      ranking = Diversify(std::move(ranking), shingles, config.diversity_lambda);
    }
  }
  std::vector<JudgedPassage> judged(passages.size());
  for (size_t i = 0; i < passages.size(); ++i) {
    judged[i].tokens = count(NumberedLine(i + 1, passages[i]));
    judged[i].passage = std::move(passages[i]);
    judged[i].fate = PassageFate::kBelowCut;
    reduced.tokens_before += judged[i].tokens;
  }
  Selection selection(config, judged);
  if (ranking.empty()) {
    selection.ChooseAll();
  } else {
    selection.Choose(ranking, terms);
    reduced.best_score = ranking.front().score;
  }
  std::vector<size_t> kept = selection.kept();
  reduced.dropped = judged.size() - kept.size();
  double lowest_kept = reduced.best_score;
  for (const JudgedPassage& j : judged) {
    if (Selection::IsKept(j.fate)) lowest_kept = std::min(lowest_kept, j.score);
    if (!Selection::IsKept(j.fate) && j.fate != PassageFate::kDuplicate) {
      reduced.best_dropped = std::max(reduced.best_dropped, j.score);
    }
  }
  if (reduced.dropped > 0) {
    const double gap = lowest_kept - reduced.best_dropped;
    reduced.margin = reduced.best_score > 0 ? std::max(gap, 0.0) / reduced.best_score : 0.0;
  }
  if (!off) Order(config.order, judged, kept);
  for (const size_t i : kept) {
    reduced.tokens_after += judged[i].tokens;
    reduced.kept.push_back(std::move(judged[i]));
  }
  return reduced;
}

}  // namespace millrace
