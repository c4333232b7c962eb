// From the runs of an ablation to verdicts and a recommendation.
//
// Each switch is judged in company: all on against all but it, in the confirmation's rounds; Holm
// over the switches, within each metric. What it does alone (only it against the baseline) is known
// from the screening, and shown beside it. Candidates are judged against the baseline, Holm over
// the candidates. The baseline has every switch off.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lab/ablation.h"
#include "lab/effect.h"
#include "lab/quality.h"
#include "lab/task_score.h"

namespace millrace {

struct LabMetric {
  const char* key;    // in RunRecord::values
  const char* label;  // for people
  const char* unit;
  Better better;
  double least;  // a change of less, in the unit, is of no practical effect, whatever the ratio
  const char* formula;
};
// The first is what the recommendation is chosen by.
std::span<const LabMetric> LabMetrics();

struct MetricFinding {
  std::string metric;  // LabMetric::key
  Effect effect;       // candidate / baseline
  double adjusted_p = 1;
  EffectVerdict verdict = EffectVerdict::kUndecided;
  double baseline = 0, candidate = 0;  // means over the rounds
};

// One configuration's answers against another's, on the same requests.
struct AnswerComparison {
  int64_t answers = 0;
  int64_t differing = 0;
  std::string first_difference;  // "request 12: "..." became "...""; empty: none
  bool promised_equal = false;   // then a difference is a fault
  int64_t judged = 0;            // with an expected answer
  TaskComparison quality;        // where judged > 0
  double exact_before = 0, exact_after = 0, f1_before = 0, f1_after = 0;
};

struct Finding {
  std::string subject;    // a switch's name, or a configuration's
  std::string candidate;  // configurations that were compared
  std::string baseline;
  std::vector<MetricFinding> metrics;  // those that were measured
  AnswerComparison answers;
  int64_t failures = 0;  // requests of the candidate that failed

  const MetricFinding* Find(std::string_view metric) const;
};

// How far a configuration's predictions are from the baseline's, token by token, on the workload's
// own texts: what its model file, KV cache and attention change.
struct PredictionQuality {
  std::string configuration;
  std::string precision;  // "model b.gguf, KV cache q8_0, flash attention"
  QualitySummary quality;
};

struct Recommendation {
  std::string configuration;         // empty: none
  std::vector<std::string> reasons;  // why, or why not
};

struct AnalysisRules {
  int64_t memory_limit = 0;        // bytes at the peak; 0: none
  double quality_margin = 0.02;    // exact match may fall by at most so much, shown by the interval
  double divergence_limit = 0.01;  // nats: the mean KL that counts as holding, by its upper bound
};
// What is applied, a sentence each: printed before the run.
std::vector<std::string> RulesOf(const AnalysisRules& rules);

struct Analysis {
  bool confirmed = false;           // else a first look: effects rank, verdicts are not claimed
  Stage stage = Stage::kScreening;  // that the findings come from
  std::vector<Finding> switches;    // in company
  std::vector<Finding> alone;       // from the screening
  std::vector<Finding> candidates;  // and models
  std::vector<Finding> handicaps;   // all on, slowed on purpose, against all on
  Finding same;                     // baseline again against the baseline
  bool same_is_null = true;
  std::vector<PredictionQuality>
      predictions;        // of candidates whose precision is not the baseline's
  double deviation = 0;   // of d between rounds, of the baselines' first metric
  double detectable = 0;  // the effect on the first metric that these rounds could find
  Recommendation recommendation;
};

// `predictions`: where they were compared, in any order.
Analysis Analyze(const AblationPlan& plan, const Workload& workload, const AblationResult& result,
                 const AnalysisRules& rules, std::vector<PredictionQuality> predictions = {});

// At most three: all on; what serve does by itself; and, of the screening, all on without what does
// not earn its place by the first metric (the band decides; among equals the simpler stays). Where
// no request has an expected answer, the last leaves other prompts out, too: nothing could show
// that quality holds.
std::vector<LabConfiguration> ChooseCandidates(const AblationPlan& plan, const Workload& workload,
                                               const AblationState& state);

// The paired differences ln(candidate / baseline) of a metric, by round.
std::vector<double> PairedDifferences(const AblationState& state, Stage stage,
                                      std::string_view candidate, std::string_view baseline,
                                      std::string_view metric);

}  // namespace millrace
