// The table of `millrace compare`, as text, JSON and a self-contained page.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lab/quality.h"
#include "lab/task_score.h"

namespace millrace {

// Rules of the verdict, printed with the table.
enum class Verdict { kReference, kHolds, kMeasurableLoss, kUnusable, kUndecided };
std::string_view NameOf(Verdict verdict);

struct ComparedModel {
  std::string name;
  std::string precision;  // the types of its matrices, the most frequent first
  int64_t file_bytes = 0;
  int64_t memory_bytes = 0;        // weights as held, and the KV cache of one full context
  double prefill = 0, decode = 0;  // tokens per second
  std::optional<QualitySummary> quality;
  std::optional<TaskScore> task;
  std::optional<TaskComparison> against_reference;
  Verdict verdict = Verdict::kReference;
};

// By the task where there is one, against the first model: unusable where exact match falls below
// half of the reference's; a measurable loss where McNemar's p < 0.05 and answers were lost on
// balance; holds where the 95 % interval of the difference lies above -0.02; else undecided.
// Without a task, by KL: holds below 0.01 nats, unusable from 0.5, a measurable loss between.
Verdict Judge(const ComparedModel& reference, const ComparedModel& model);
extern const char* const kVerdictRules;

std::string TextTable(const std::vector<ComparedModel>& models);
std::string MarkdownTable(const std::vector<ComparedModel>& models);
nlohmann::ordered_json JsonTable(const std::vector<ComparedModel>& models);
// The table and a plot of quality against memory; no scripts, no links.
std::string HtmlPage(const std::vector<ComparedModel>& models, const std::string& machine);

}  // namespace millrace
