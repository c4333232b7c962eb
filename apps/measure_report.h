// What `millrace measure` writes and prints at its end.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lab/report.h"

namespace millrace {

// Processor, cores, memory, system, version: name and value.
std::vector<std::pair<std::string, std::string>> DescribeMachine();
// report.html, report.json, runs.csv and, where something is recommended, recommended.toml.
Status WriteReport(const std::string& folder, const ReportInput& input);
void PrintFindings(const Analysis& analysis);

}  // namespace millrace
