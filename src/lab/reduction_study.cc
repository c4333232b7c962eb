#include "lab/reduction_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "lab/effect.h"
#include "prompt_reduction/reduction_switch.h"

namespace millrace {
namespace {

using QuestionJson = nlohmann::json;

constexpr size_t kNdcgDepth = 10;
constexpr int kStudyResamples = 1000;
constexpr uint64_t kStudySeed = 17;

Result<std::vector<std::string>> TextList(const QuestionJson& line, const char* name) {
  std::vector<std::string> texts;
  const auto found = line.find(name);
  if (found == line.end() || found->is_null()) return texts;
  if (!found->is_array()) return Error{fmt::format("\"{}\" must be a list of texts", name)};
  for (const QuestionJson& text : *found) {
    if (!text.is_string()) return Error{fmt::format("\"{}\" must be a list of texts", name)};
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::string TextOf(const QuestionJson& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Status ReadOwnDocuments(const QuestionJson& line, std::vector<Passage>& documents) {
  const auto found = line.find("documents");
  if (found == line.end() || found->is_null()) return {};
  if (!found->is_array()) return Error{"\"documents\" must be a list"};
  for (const QuestionJson& document : *found) {
    if (!document.is_object() || !document.contains("text") || !document["text"].is_string()) {
      return Error{"each of \"documents\" must be an object with a text \"text\""};
    }
    Passage& passage = documents.emplace_back();
    passage.id = TextOf(document, "id");
    passage.title = TextOf(document, "title");
    passage.text = TextOf(document, "text");
  }
  return {};
}

Result<StudyQuestion> ReadQuestionLine(const QuestionJson& line) {
  if (!line.is_object()) return Error{"it is no JSON object"};
  StudyQuestion question;
  question.question = TextOf(line, "question");
  if (question.question.empty()) return Error{"\"question\" is missing or no text"};
  ASSIGN_OR_RETURN(question.answers, TextList(line, "answers"));
  ASSIGN_OR_RETURN(question.relevant, TextList(line, "relevant"));
  RETURN_IF_ERROR(ReadOwnDocuments(line, question.documents));
  if (line.contains("expected")) {
    ASSIGN_OR_RETURN(question.expected, ParseExpected(line["expected"].dump()));
  } else if (!question.answers.empty()) {
    question.expected.emplace();
    question.expected->texts = question.answers;
  }
  return question;
}

std::optional<StudyMean> MeanOf(std::span<const double> values, std::span<const int32_t> clusters,
                                bool shares) {
  if (values.empty()) return std::nullopt;
  StudyMean mean;
  mean.count = static_cast<int64_t>(values.size());
  const ClusteredMean clustered = MeanByCluster(values, clusters);
  mean.mean = clustered.mean;
  if (shares && clustered.clusters == clustered.count) {
    mean.interval = Wilson(std::llround(mean.mean * static_cast<double>(mean.count)), mean.count);
  } else {
    mean.interval = BootstrapMean(values, clusters, kStudyResamples, kStudySeed);
  }
  return mean;
}

// The values of one figure over the questions that have it, with their clusters.
struct Column {
  std::vector<double> values;
  std::vector<int32_t> clusters;
  void Add(double value, int32_t cluster) {
    values.push_back(value);
    clusters.push_back(cluster);
  }
  std::optional<StudyMean> Mean() const { return MeanOf(values, clusters, false); }
  std::optional<StudyMean> Share() const { return MeanOf(values, clusters, true); }
  double Plain() const {
    double sum = 0;
    for (const double value : values) sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
  }
};

std::optional<bool> IsGood(StudyQuality quality, const StudyOutcome& outcome) {
  switch (quality) {
    case StudyQuality::kAnswers:
      if (!outcome.asked || !outcome.asked->judged) return std::nullopt;
      return outcome.asked->judged->right;
    case StudyQuality::kCoverage:
      return outcome.covered;
    case StudyQuality::kRecall:
      if (!outcome.recall) return std::nullopt;
      return *outcome.recall >= 1;
  }
  return std::nullopt;
}

StudyQuality QualityOf(std::span<const StudyOutcome> outcomes) {
  for (const StudyQuality quality : {StudyQuality::kAnswers, StudyQuality::kCoverage}) {
    const auto has = [&](const StudyOutcome& o) { return IsGood(quality, o).has_value(); };
    if (std::any_of(outcomes.begin(), outcomes.end(), has)) return quality;
  }
  return StudyQuality::kRecall;
}

// The setting of the largest share of good questions; of equal ones `usual`, else the first.
size_t BestSetting(StudyQuality quality, const StudyOutcomes& outcomes, size_t usual) {
  const auto good = [&](size_t s) {
    return std::count_if(outcomes[s].begin(), outcomes[s].end(),
                         [&](const StudyOutcome& o) { return IsGood(quality, o).value_or(false); });
  };
  size_t best = usual;
  for (size_t s = 0; s < outcomes.size(); ++s) {
    if (good(s) > good(best)) best = s;
  }
  return best;
}

// Of a standard normal variable.
double UpperTail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

// `differences`: good less good in the reference, a question each: -1, 0 or 1.
StudyRecommendation::Candidate Compare(const std::string& setting,
                                       std::span<const double> differences,
                                       std::span<const int32_t> clusters, double margin) {
  StudyRecommendation::Candidate candidate;
  candidate.setting = setting;
  const ClusteredMean mean = MeanByCluster(differences, clusters);
  candidate.difference = mean.mean;
  const auto count = static_cast<double>(differences.size()) + 2;
  const double lost =
      0.5 + static_cast<double>(std::count(differences.begin(), differences.end(), -1.0));
  const double gained =
      0.5 + static_cast<double>(std::count(differences.begin(), differences.end(), 1.0));
  const double centre = (gained - lost) / count;
  double error = std::sqrt(lost + gained - (gained - lost) * (gained - lost) / count) / count;
  if (mean.clusters < mean.count) error = std::max(error, mean.standard_error);
  candidate.interval = {centre - kNormal95 * error, centre + kNormal95 * error};
  candidate.adjusted_p = UpperTail((centre + margin) / error);
  return candidate;
}

}  // namespace

Result<std::vector<StudyQuestion>> ParseStudyQuestions(std::string_view jsonl,
                                                       const std::string& name) {
  std::vector<StudyQuestion> questions;
  std::map<std::string, int32_t> groups;
  int64_t number = 0;
  for (size_t at = 0; at < jsonl.size();) {
    const size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    const std::string_view text = jsonl.substr(at, end - at);
    at = end + 1;
    ++number;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const QuestionJson line = QuestionJson::parse(text, nullptr, false);
    auto question = line.is_discarded() ? Result<StudyQuestion>(Error{"it is no JSON"})
                                        : ReadQuestionLine(line);
    if (!question.ok()) {
      return Error{fmt::format("{}, line {}: {}", name, number, question.error().message)};
    }
    const std::string group =
        line.contains("group") ? "group " + line["group"].dump() : fmt::format("line {}", number);
    question->cluster =
        groups.try_emplace(group, static_cast<int32_t>(groups.size())).first->second;
    questions.push_back(std::move(*question));
  }
  if (questions.empty()) return Error{name + " holds no questions"};
  return questions;
}

std::vector<StudySetting> StudySettings(size_t most, StudySource source) {
  std::vector<StudySetting> settings;
  for (size_t k = 1; k <= most; ++k) {
    ReductionConfig config;
    config.mode = ReductionMode::kTop;
    config.most = k;
    settings.push_back({NameOf(config), config});
  }
  ReductionConfig adaptive;
  adaptive.most = std::min(adaptive.most, std::max<size_t>(most, 1));
  settings.push_back({NameOf(adaptive), adaptive});
  if (source == StudySource::kStore) return settings;
  ReductionConfig off;
  off.mode = ReductionMode::kOff;
  settings.push_back({NameOf(off), off});
  return settings;
}

size_t ReferenceSetting(std::span<const StudySetting> settings) {
  size_t reference = 0;
  for (size_t s = 0; s < settings.size(); ++s) {
    const ReductionConfig& config = settings[s].config;
    if (config.mode == ReductionMode::kOff) return s;
    if (config.mode == ReductionMode::kTop) reference = s;
  }
  return reference;
}

StudyOutcome ScoreSelection(const StudyQuestion& question, const ReducedPrompt& reduced) {
  StudyOutcome outcome;
  outcome.kept = reduced.kept.size();
  outcome.passage_tokens = reduced.tokens_after;
  if (!question.answers.empty()) {
    outcome.covered = false;
    for (const JudgedPassage& kept : reduced.kept) {
      for (const std::string& answer : question.answers) {
        if (kept.passage.text.find(answer) != std::string::npos) outcome.covered = true;
      }
    }
  }
  if (question.relevant.empty()) return outcome;
  std::vector<const JudgedPassage*> ranked;
  for (const JudgedPassage& kept : reduced.kept) ranked.push_back(&kept);
  std::stable_sort(
      ranked.begin(), ranked.end(),
      [](const JudgedPassage* a, const JudgedPassage* b) { return a->score > b->score; });
  const std::set<std::string> relevant(question.relevant.begin(), question.relevant.end());
  std::set<std::string> seen;  // a document counts where its first passage stands
  double gain = 0, ideal = 0;
  size_t hits = 0;
  for (const JudgedPassage* passage : ranked) {
    const std::string& id = passage->passage.id;
    if (!seen.insert(id).second || !relevant.contains(id)) continue;
    ++hits;
    if (seen.size() <= kNdcgDepth) gain += 1 / std::log2(1.0 + static_cast<double>(seen.size()));
  }
  for (size_t i = 1; i <= std::min(relevant.size(), kNdcgDepth); ++i)
    ideal += 1 / std::log2(1.0 + static_cast<double>(i));
  outcome.recall = static_cast<double>(hits) / static_cast<double>(relevant.size());
  outcome.ndcg = gain / ideal;
  return outcome;
}

std::vector<StudyRow> SummariseStudy(std::span<const StudySetting> settings,
                                     std::span<const StudyQuestion> questions,
                                     const StudyOutcomes& outcomes) {
  std::vector<StudyRow> rows;
  for (size_t s = 0; s < settings.size(); ++s) {
    Column kept, tokens, covered, recall, ndcg, prompt, reused, cold, warm, right, f1;
    for (size_t q = 0; q < questions.size(); ++q) {
      const StudyOutcome& o = outcomes[s][q];
      const int32_t cluster = questions[q].cluster;
      kept.Add(static_cast<double>(o.kept), cluster);
      tokens.Add(static_cast<double>(o.passage_tokens), cluster);
      if (o.covered) covered.Add(*o.covered ? 1 : 0, cluster);
      if (o.recall) recall.Add(*o.recall, cluster);
      if (o.ndcg) ndcg.Add(*o.ndcg, cluster);
      if (!o.asked) continue;
      prompt.Add(static_cast<double>(o.asked->prompt_tokens), cluster);
      reused.Add(static_cast<double>(o.asked->reused_tokens), cluster);
      cold.Add(o.asked->cold_ms, cluster);
      warm.Add(o.asked->warm_ms, cluster);
      if (!o.asked->judged) continue;
      right.Add(o.asked->judged->right ? 1 : 0, cluster);
      f1.Add(o.asked->judged->f1, cluster);
    }
    StudyRow& row = rows.emplace_back();
    row.setting = settings[s].name;
    row.kept = kept.Plain();
    row.passage_tokens = tokens.Plain();
    row.coverage = covered.Share();
    row.recall = recall.Mean();
    row.ndcg = ndcg.Mean();
    row.asked = static_cast<int64_t>(prompt.values.size());
    row.prompt_tokens = prompt.Plain();
    row.reused_tokens = reused.Plain();
    row.cold_ms = cold.Mean();
    row.warm_ms = warm.Mean();
    row.exact_match = right.Share();
    row.f1 = f1.Mean();
  }
  return rows;
}

std::string_view NameOf(StudyQuality quality) {
  switch (quality) {
    case StudyQuality::kAnswers:
      return "exact match of the answers";
    case StudyQuality::kCoverage:
      return "answer coverage";
    case StudyQuality::kRecall:
      return "all relevant documents kept";
  }
  return "unknown";
}

StudyRecommendation RecommendReduction(std::span<const StudySetting> settings,
                                       std::span<const StudyQuestion> questions,
                                       const StudyOutcomes& outcomes, double margin) {
  StudyRecommendation advice;
  advice.margin = margin;
  const size_t usual = ReferenceSetting(settings);
  advice.quality = QualityOf(outcomes[usual]);
  const size_t reference = BestSetting(advice.quality, outcomes, usual);
  advice.reference = settings[reference].name;
  std::vector<double> p;
  std::vector<double> tokens;
  for (size_t s = 0; s < settings.size(); ++s) {
    if (s == reference) continue;
    Column differences, passage_tokens;
    for (size_t q = 0; q < questions.size(); ++q) {
      passage_tokens.Add(static_cast<double>(outcomes[s][q].passage_tokens), 0);
      const auto good = IsGood(advice.quality, outcomes[s][q]);
      const auto before = IsGood(advice.quality, outcomes[reference][q]);
      if (good && before)
        differences.Add((*good ? 1 : 0) - (*before ? 1 : 0), questions[q].cluster);
    }
    if (differences.values.empty()) continue;
    advice.candidates.push_back(
        Compare(settings[s].name, differences.values, differences.clusters, margin));
    p.push_back(advice.candidates.back().adjusted_p);
    tokens.push_back(passage_tokens.Plain());
  }
  const std::vector<double> adjusted = HolmAdjusted(p);
  double fewest = 0;
  for (size_t c = 0; c < advice.candidates.size(); ++c) {
    StudyRecommendation::Candidate& candidate = advice.candidates[c];
    candidate.adjusted_p = adjusted[c];
    candidate.shown_to_hold = adjusted[c] <= 0.05;
    if (!candidate.shown_to_hold || (!advice.setting.empty() && tokens[c] >= fewest)) continue;
    advice.setting = candidate.setting;
    fewest = tokens[c];
    advice.reason = fmt::format(
        "the fewest tokens among the settings shown to lose less than {:g} points of {} against "
        "{}: "
        "{:+.1f} points ({:+.1f} to {:+.1f})",
        100 * margin, NameOf(advice.quality), advice.reference, 100 * candidate.difference,
        100 * candidate.interval.low, 100 * candidate.interval.high);
  }
  if (advice.candidates.empty()) {
    advice.reason = "undecided: no question says what a good answer is (answers or relevant)";
  } else if (advice.setting.empty()) {
    advice.reason = fmt::format(
        "undecided: of no setting is it shown that it loses less than {:g} points of {} against "
        "{}; "
        "more questions narrow the intervals",
        100 * margin, NameOf(advice.quality), advice.reference);
  }
  return advice;
}

}  // namespace millrace
