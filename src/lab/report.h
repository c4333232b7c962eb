// What an ablation found, for people (one HTML file that needs no network) and for programs (JSON,
// CSV). Pure: strings in, strings out.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lab/analysis.h"
#include "lab/replay_metrics.h"
#include "lab/workload_summary.h"

namespace millrace {

struct ReportInput {
  const AblationPlan& plan;
  const AblationResult& result;
  const Analysis& analysis;
  const WorkloadSummary& summary;
  std::string workload;                                       // its name and form
  std::string model;                                          // its name
  std::string replay;                                         // "closed loop, 4 clients"
  std::vector<std::pair<std::string, std::string>> machine;   // name, value
  std::vector<std::pair<std::string, std::string>> commands;  // configuration, command
  std::vector<std::string> rules;
  std::vector<std::string> notes;  // what was left out, and why
  std::string recommended_toml;    // empty: none
};

std::string ReportJson(const ReportInput& input);
// A line per run: stage, round, configuration, every value, failures.
std::string ReportCsv(const AblationState& state);
std::string ReportHtml(const ReportInput& input);

// What all pages and tables need: text that HTML shows as it is; "-12.3 %" of a ratio.
std::string EscapedHtml(std::string_view text);
std::string Percent(double ratio);

}  // namespace millrace
