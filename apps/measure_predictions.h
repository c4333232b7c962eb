// How far the candidates of a measurement predict from its baseline, token by token: what a model
// file, a KV type or another attention changes, beside what it saves.
#pragma once

#include <vector>

#include "lab/ablation.h"
#include "lab/analysis.h"
#include "measure_run.h"
#include "workload_reading.h"

namespace millrace {

struct PredictionSetup {
  const ServerSetup& server;
  const SwitchList& switches;
  const Workload& workload;
  const WorkloadTokenizer& tokenizer;
  int64_t tokens = 8192;  // stop after about so many
};

// Scores the workload's prompts and the baseline's answers under each candidate whose model file,
// KV type or attention is not the baseline's. Empty where there is none, or the workload has no
// texts. Errors: a model that cannot be loaded beside the baseline's, or has another vocabulary;
// what was run before is not touched.
Result<std::vector<PredictionQuality>> MeasurePredictions(const PredictionSetup& setup,
                                                          const AblationPlan& plan,
                                                          const AblationResult& result);

}  // namespace millrace
