// Tables of the report on quality, and what several of its parts look up. Internal to lab/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lab/report.h"

namespace millrace::lab_internal {

// The mean of a value over a configuration's runs of the stage that the findings come from; 0 for
// none.
double MeanValue(const ReportInput& in, std::string_view configuration, std::string_view key);
// Names of the configurations that ran in that stage.
std::vector<std::string> StageNames(const ReportInput& in);

std::string QualityTable(const ReportInput& in);     // answers against answers
std::string PredictionTable(const ReportInput& in);  // KL divergence, perplexity
std::string RetrievalTable(const ReportInput& in);   // what reduction keeps

// What reduction keeps under a configuration: means over its runs. requests 0: it was not measured.
struct RetrievalRow {
  std::string configuration;
  double requests = 0, coverage = 0, recall = 0, kept = 0, prompt_tokens = 0;
};
std::vector<RetrievalRow> RetrievalRows(const ReportInput& in);

}  // namespace millrace::lab_internal
