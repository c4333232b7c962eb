#include "prompt_reduction/reduce.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/rng.h"
#include "prompt_reduction/search_terms.h"
#include "prompt_reduction/sentence_extraction.h"

namespace millrace {
namespace {

constexpr size_t kMostToDiversify = 100;  // which takes the square of it

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

// Fused rankings are not in the order of their scores.
double BestScore(const std::vector<RankedPassage>& ranking) {
  double best = 0;
  for (const RankedPassage& ranked : ranking) best = std::max(best, ranked.score);
  return best;
}

// Who stays. Works on passages by index; `judged` takes the fates.
class Selection {
 public:
  Selection(const ReductionConfig& config, std::vector<JudgedPassage>& judged)
      : config_(config), judged_(judged) {}

  // By the ranking; passages that are not in it are below the cut.
  void Choose(const std::vector<RankedPassage>& ranking,
              std::span<const std::vector<uint64_t>> words) {
    const double best = BestScore(ranking);
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
           const ReductionHelpers& helpers, std::vector<size_t>& kept) {
  if (order == PassageOrder::kRelevance) return;
  std::sort(kept.begin(), kept.end());
  if (order == PassageOrder::kGiven) return;
  std::stable_sort(kept.begin(), kept.end(), [&](size_t a, size_t b) {
    return NaturallyLess(judged[a].passage.id, judged[b].passage.id);
  });
  if (order != PassageOrder::kReuse || helpers.reuse == nullptr) return;
  std::vector<uint64_t> keys;
  for (const size_t i : kept) {
    const Passage& p = judged[i].passage;
    keys.push_back(HashOfTerm(p.title) ^ Mix64(HashOfTerm(p.text)));
  }
  std::vector<size_t> ordered;
  for (const size_t i : helpers.reuse->Order(helpers.reuse_root, keys)) ordered.push_back(kept[i]);
  kept = std::move(ordered);
}

// Cuts the kept passages; whether it could.
bool Extract(std::string_view question, double ratio, const std::vector<size_t>& kept,
             std::vector<JudgedPassage>& judged) {
  auto reader = TermReader::Create();
  if (!reader.ok()) return false;
  std::vector<Passage*> passages;
  for (const size_t i : kept) passages.push_back(&judged[i].passage);
  ExtractSentences(*reader, question, ratio, passages);
  return true;
}

// Leaves out words of the kept passages, never of their titles.
Status PruneKept(std::string_view question, const ReductionConfig& config,
                 const TokenCounter& count, const ReductionHelpers& helpers,
                 ReducedPrompt& reduced) {
  if (!config.prune_ratio || !helpers.surprise || config.mode == ReductionMode::kOff) return {};
  std::vector<std::string> texts;
  for (const JudgedPassage& kept : reduced.kept) texts.push_back(kept.passage.text);
  ASSIGN_OR_RETURN(const auto scored, helpers.surprise(texts));
  if (scored.size() != texts.size()) {
    return Error{"A model scored another number of passages than it was given",
                 ErrorKind::kInternal};
  }
  ASSIGN_OR_RETURN(TermReader reader, TermReader::Create());
  const std::vector<uint64_t> asked = ReadQuestion(reader, question);
  const auto stays = [&](std::string_view word) {
    bool matters =
        std::any_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    reader.Read(word, [&](std::string_view term) {
      matters = matters || std::binary_search(asked.begin(), asked.end(), HashOfTerm(term));
    });
    return matters;
  };
  reduced.tokens_after = 0;
  for (size_t i = 0; i < reduced.kept.size(); ++i) {
    JudgedPassage& kept = reduced.kept[i];
    const int64_t before = kept.tokens;
    kept.passage.text = PruneText(kept.passage.text, scored[i], *config.prune_ratio, stays);
    kept.tokens = count(NumberedLine(i + 1, kept.passage.title, kept.passage.text));
    reduced.pruned_tokens += before - kept.tokens;
    reduced.tokens_after += kept.tokens;
  }
  return {};
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

ReducedPrompt ReduceRanked(Candidates candidates, const ReductionConfig& config,
                           const TokenCounter& count, const ReductionHelpers& helpers) {
  ReducedPrompt reduced;
  std::vector<Passage>& passages = candidates.passages;
  std::vector<RankedPassage>& ranking = candidates.ranking;
  if (config.mode == ReductionMode::kOff) ranking.clear();
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
    reduced.best_score = BestScore(ranking);
    if (config.diversity_lambda < 1)
      DiversifyBest(ranking, candidates.words, config.diversity_lambda);
    selection.Choose(ranking, candidates.words);
  }
  MeasureRisk(judged, reduced);
  for (const JudgedPassage& j : judged) ++reduced.fate[static_cast<size_t>(j.fate)];
  std::vector<size_t> kept = selection.kept();
  const bool cut = config.sentence_ratio && config.mode != ReductionMode::kOff &&
                   Extract(candidates.question, *config.sentence_ratio, kept, judged);
  Order(config.mode == ReductionMode::kOff ? PassageOrder::kGiven : config.order, judged, helpers,
        kept);
  for (const size_t i : kept) {
    JudgedPassage& j = reduced.kept.emplace_back(std::move(judged[i]));
    j.bytes = j.passage.text.size();
    if (cut || reduced.kept.size() != i + 1) {  // it has another text or number now
      j.tokens = count(NumberedLine(reduced.kept.size(), j.passage.title, j.passage.text));
    }
    reduced.tokens_after += j.tokens;
  }
  return reduced;
}

Result<ReducedPrompt> ReducePrompt(std::string_view question, std::span<const Passage> documents,
                                   const ReductionConfig& config, const TokenCounter& count,
                                   const ReductionHelpers& helpers) {
  if (config.mode == ReductionMode::kOff) {
    Candidates all;
    all.passages.assign(documents.begin(), documents.end());
    for (size_t i = 0; i < all.passages.size(); ++i) all.passages[i].document = i;
    return ReduceRanked(std::move(all), config, count, helpers);
  }
  ASSIGN_OR_RETURN(Candidates candidates,
                   CandidatesOf(question, documents, config.chunk_tokens, helpers.models));
  ReducedPrompt reduced = ReduceRanked(std::move(candidates), config, count, helpers);
  RETURN_IF_ERROR(PruneKept(question, config, count, helpers, reduced));
  return reduced;
}

Result<ReducedPrompt> ReduceFromStore(PassageStore& store, std::string_view question,
                                      const ReductionConfig& config, const TokenCounter& count,
                                      const ReductionHelpers& helpers) {
  const bool off = config.mode == ReductionMode::kOff;
  const size_t depth = off ? kStoreOff : std::max(kStoreDepth, config.most);
  ASSIGN_OR_RETURN(Candidates candidates,
                   CandidatesFrom(store, question, depth, off ? PassageModels() : helpers.models));
  ReducedPrompt reduced = ReduceRanked(std::move(candidates), config, count, helpers);
  RETURN_IF_ERROR(PruneKept(question, config, count, helpers, reduced));
  return reduced;
}

}  // namespace millrace
