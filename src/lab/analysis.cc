#include "lab/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lab/answer_comparison.h"
#include "lab/recommendation.h"

namespace millrace {
namespace {

constexpr LabMetric kMetrics[] = {
    {"e2e_ms", "end to end", "ms", Better::kLower, 0.5, "tN - s, mean over requests"},
    {"ttft_ms", "first token", "ms", Better::kLower, 0.5, "t1 - s, mean over requests"},
    {"tpot_ms", "time per token", "ms", Better::kLower, 0.5,
     "(tN - t1) / (N - 1), mean over requests"},
    {"itl_ms", "between emissions", "ms", Better::kLower, 0.5,
     "mean of all gaps between emissions"},
    {"throughput", "throughput", "tokens/s", Better::kHigher, 0,
     "tokens of whole answers / (last end - first s)"},
    {"goodput", "goodput", "answers/s", Better::kHigher, 0,
     "whole answers that meet every target / (last end - first s)"},
    {"memory_mib", "peak memory", "MiB", Better::kLower, 1, "largest resident set of the server"},
};

const RunRecord* FindRun(const AblationState& state, Stage stage, int round,
                         std::string_view configuration) {
  for (const RunRecord& run : state.runs) {
    if (run.stage == stage && run.round == round && run.configuration == configuration) return &run;
  }
  return nullptr;
}

int RoundsOf(const AblationState& state, Stage stage) {
  int rounds = 0;
  for (const RunRecord& run : state.runs) {
    if (run.stage == stage) rounds = std::max(rounds, run.round + 1);
  }
  return rounds;
}

// The band around "no change", wide enough for the least change that matters: half of 0.03 ms more
// is nothing to anybody.
double BandOf(const LabMetric& metric, const MetricFinding& m) {
  return m.baseline > 0 ? std::max(kPracticalBand, metric.least / m.baseline) : kPracticalBand;
}

class Analyst {
 public:
  Analyst(const AblationPlan& plan, const Workload& workload, const AblationResult& result)
      : plan_(plan), workload_(workload), result_(result) {}

  Finding Compare(std::string subject, const std::string& candidate, const std::string& baseline,
                  Stage stage) const {
    Finding finding{std::move(subject), candidate, baseline, {}, {}, 0};
    for (const LabMetric& metric : kMetrics) {
      const auto d = PairedDifferences(result_.state, stage, candidate, baseline, metric.key);
      if (d.empty()) continue;
      MetricFinding m;
      m.metric = metric.key;
      m.effect = PairedEffect(d);
      m.adjusted_p = m.effect.p;
      m.baseline = MeanOverRuns(result_.state, stage, baseline, metric.key).value_or(0);
      m.candidate = MeanOverRuns(result_.state, stage, candidate, metric.key).value_or(0);
      finding.metrics.push_back(std::move(m));
    }
    AnswerComparer comparer(workload_);
    for (int round = 0; round < RoundsOf(result_.state, stage); ++round) {
      const RunRecord* first = FindRun(result_.state, stage, round, baseline);
      const RunRecord* second = FindRun(result_.state, stage, round, candidate);
      if (first == nullptr || second == nullptr) continue;
      comparer.Add(*first, *second);
      for (const auto& [reason, count] : second->failures) finding.failures += count;
    }
    finding.answers = comparer.Result();
    const LabConfiguration* a = result_.Find(baseline);
    const LabConfiguration* b = result_.Find(candidate);
    finding.answers.promised_equal =
        a != nullptr && b != nullptr &&
        AnswerEffectBetween(*a, *b, plan_.switches) == AnswerEffect::kNone;
    return finding;
  }

  // Holm within each metric over the findings, then verdicts.
  static void Judge(std::vector<Finding>& family) {
    for (const LabMetric& metric : kMetrics) {
      std::vector<double> p;
      std::vector<MetricFinding*> members;
      for (Finding& finding : family) {
        for (MetricFinding& m : finding.metrics) {
          if (m.metric != metric.key) continue;
          p.push_back(m.effect.p);
          members.push_back(&m);
        }
      }
      const std::vector<double> adjusted = HolmAdjusted(p);
      for (size_t i = 0; i < members.size(); ++i) {
        members[i]->adjusted_p = adjusted[i];
        members[i]->verdict =
            Decide(members[i]->effect, adjusted[i], metric.better, BandOf(metric, *members[i]));
      }
    }
  }

 private:
  const AblationPlan& plan_;
  const Workload& workload_;
  const AblationResult& result_;
};

// Holm over the metrics; a difference that is certain but within the band is no bias that matters.
bool IsNull(Finding& same) {
  std::vector<double> p;
  for (const MetricFinding& m : same.metrics) p.push_back(m.effect.p);
  const std::vector<double> adjusted = HolmAdjusted(p);
  bool null = true;
  for (size_t i = 0; i < same.metrics.size(); ++i) {
    MetricFinding& m = same.metrics[i];
    m.adjusted_p = adjusted[i];
    for (const LabMetric& metric : kMetrics) {
      if (m.metric == metric.key)
        m.verdict = Decide(m.effect, adjusted[i], metric.better, BandOf(metric, m));
    }
    null = null && (adjusted[i] > 0.05 || m.verdict == EffectVerdict::kNoPracticalEffect);
  }
  return null && same.answers.differing == 0;
}

}  // namespace

std::span<const LabMetric> LabMetrics() { return kMetrics; }

const MetricFinding* Finding::Find(std::string_view metric) const {
  for (const MetricFinding& m : metrics) {
    if (m.metric == metric) return &m;
  }
  return nullptr;
}

std::vector<double> PairedDifferences(const AblationState& state, Stage stage,
                                      std::string_view candidate, std::string_view baseline,
                                      std::string_view metric) {
  std::vector<double> d;
  for (int round = 0; round < RoundsOf(state, stage) && d.size() < kMostRounds; ++round) {
    const RunRecord* first = FindRun(state, stage, round, baseline);
    const RunRecord* second = FindRun(state, stage, round, candidate);
    if (first == nullptr || second == nullptr) continue;
    const auto before = first->values.find(std::string(metric));
    const auto after = second->values.find(std::string(metric));
    if (before == first->values.end() || after == second->values.end()) continue;
    if (before->second > 0 && after->second > 0)
      d.push_back(std::log(after->second / before->second));
  }
  return d;
}

Analysis Analyze(const AblationPlan& plan, const Workload& workload, const AblationResult& result,
                 const AnalysisRules& rules, std::vector<PredictionQuality> predictions) {
  const Analyst analyst(plan, workload, result);
  const std::string baseline(kBaseline), all_on(kAllOn);
  Analysis a;
  a.confirmed = plan.confirmation_rounds > 0;
  a.stage = a.confirmed ? Stage::kConfirmation : Stage::kScreening;
  for (const LabSwitch* s : plan.switches) {
    a.switches.push_back(analyst.Compare(s->name, all_on, WithoutName(*s), a.stage));
    a.alone.push_back(analyst.Compare(s->name, AloneName(*s), baseline, Stage::kScreening));
  }
  std::vector<std::string> candidates = result.candidates;
  if (candidates.empty()) candidates = {all_on};
  for (const std::string& model : plan.candidate_models) candidates.push_back(ModelName(model));
  for (const std::string& name : candidates)
    a.candidates.push_back(analyst.Compare(name, name, baseline, a.stage));
  for (const double percent : plan.handicaps) {
    a.handicaps.push_back(
        analyst.Compare(HandicapName(percent), HandicapName(percent), all_on, a.stage));
  }
  Analyst::Judge(a.handicaps);
  Analyst::Judge(a.switches);
  Analyst::Judge(a.alone);
  Analyst::Judge(a.candidates);
  a.same = analyst.Compare("A/A", std::string(kBaselineAgain), baseline, a.stage);
  a.same_is_null = IsNull(a.same);
  if (const MetricFinding* m = a.same.Find(kMetrics[0].key)) {
    a.deviation = m->effect.deviation;
    a.detectable = DetectableEffect(a.deviation, m->effect.rounds);
  }
  a.predictions = std::move(predictions);
  a.recommendation = Recommend(plan, result, a, rules);
  return a;
}

}  // namespace millrace
