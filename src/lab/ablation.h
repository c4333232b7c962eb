// An ablation: which configurations run when, on which requests, and what came out.
//
// The workload is split by group into two halves. Half A screens (a few rounds: the baseline twice,
// all on, each switch alone, each removed from all on) and only chooses; half B confirms on
// requests that chose nothing: the baseline twice, all on, each switch removed from it, and the
// candidates. So a verdict on a switch (all on against all but it) and one on a candidate (against
// the baseline) never come from the data that made it look good. A round runs every configuration
// once, in random order, on the same requests. Everything random is a function of the seed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/lab_switch.h"
#include "lab/workload.h"

namespace millrace {

enum class Stage { kScreening, kConfirmation };
std::string_view NameOf(Stage stage);  // "screening", "confirmation"

struct AblationPlan {
  SwitchList switches;
  std::vector<std::string> candidate_models;
  std::vector<double> handicaps;  // all on, slowed on purpose by so many percent: does one see it?
  int screening_rounds = 2;
  int confirmation_rounds = 8;  // 0: a first look, which ranks only
  size_t requests_per_run = 24;
  uint64_t seed = 1;
};

inline constexpr std::string_view kBaseline = "baseline";
inline constexpr std::string_view kBaselineAgain = "baseline again";
inline constexpr std::string_view kAllOn = "all on";
std::string AloneName(const LabSwitch& s);     // "only prefix reuse"
std::string WithoutName(const LabSwitch& s);   // "all but prefix reuse"
std::string ModelName(std::string_view file);  // "all on, model FILE"
std::string HandicapName(double percent);      // "all on, slowed by 10 %"

// What the screening runs; what the confirmation runs whatever was screened (its candidates come on
// top).
std::vector<LabConfiguration> ScreeningConfigurations(const AblationPlan& plan);
std::vector<LabConfiguration> ConfirmationConfigurations(const AblationPlan& plan);

// Indices of a workload's requests. Groups (or sessions) stay whole.
struct Halves {
  std::vector<size_t> screening, confirmation;
};
Halves SplitWorkload(const Workload& workload, uint64_t seed);
// The requests of a round: the next `count` of the half, from its beginning again at the end; in
// the workload's order.
std::vector<size_t> RoundRequests(const std::vector<size_t>& half, size_t count, int round);

// One run of one configuration.
struct RunRecord {
  Stage stage = Stage::kScreening;
  int round = 0;
  std::string configuration;
  std::map<std::string, double> values;  // by metric name (lab_metric.h)
  std::map<std::string, int64_t> failures;
  std::vector<size_t> items;       // the workload's requests, in order
  std::vector<std::string> texts;  // their answers; "" where there was none
  // Of each whole answer, by name ("ttft_ms"): for tails over all rounds.
  std::map<std::string, std::vector<double>> samples;
  std::vector<double> itl_quantiles;  // ms, at 0, 5, ... 100 %
};

// Runs one configuration on those requests, in a fresh server. An error ends the ablation; failures
// of single requests belong into the record.
using RunOne =
    std::function<Result<RunRecord>(const LabConfiguration&, const std::vector<size_t>& items)>;

// What was run so far; kept in a file, so that an interrupted ablation goes on where it was.
struct AblationState {
  std::string fingerprint;      // of all that must not change between the parts
  size_t requests_per_run = 0;  // as chosen at the start
  std::vector<RunRecord> runs;
};
// The mean of a value over a configuration's runs of a stage that have it; nothing where none has.
std::optional<double> MeanOverRuns(const AblationState& state, Stage stage,
                                   std::string_view configuration, std::string_view value);
std::string ToJson(const AblationState& state);
Result<AblationState> ParseAblationState(std::string_view json);

struct AblationProgress {
  size_t done = 0, total = 0;
  double seconds_left = 0;  // by the mean of this process's runs
  std::string now;          // "confirmation, round 2 of 8: all on"
};

struct AblationHooks {
  RunOne run;
  std::function<Status(const AblationState&)> save;       // after every run
  std::function<void(const AblationProgress&)> progress;  // before every run
  // The candidates, at most three, once the screening is done.
  std::function<std::vector<LabConfiguration>(const AblationState&)> choose;
};

struct AblationResult {
  AblationState state;
  std::vector<LabConfiguration> configurations;  // of all stages, each once
  std::vector<std::string> candidates;           // names

  const LabConfiguration* Find(std::string_view name) const;  // null: none has it
};

// Runs what `state` does not hold yet. On an error, what was run has been saved.
Result<AblationResult> RunAblation(const AblationPlan& plan, const Workload& workload,
                                   AblationState state, const AblationHooks& hooks);

// How many runs the plan takes, with `candidates` more in the confirmation.
size_t CountRuns(const AblationPlan& plan, size_t candidates);

}  // namespace millrace
