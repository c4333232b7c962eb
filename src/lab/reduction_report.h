// What a study of prompt reduction found, as a table, as JSON and as one HTML page that needs no
// network. Pure: strings in, strings out.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lab/reduction_study.h"

namespace millrace {

struct StudyReport {
  std::span<const StudyRow> rows;
  const StudyRecommendation& recommendation;
  std::vector<std::pair<std::string, std::string>> about;  // "questions": "2655"; name, value
};

std::string StudyTable(const StudyReport& report);
std::string StudyJson(const StudyReport& report);
std::string StudyHtml(const StudyReport& report);

}  // namespace millrace
