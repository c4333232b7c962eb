// Scores of a task: shares with intervals, and two models on the same questions.
#pragma once

#include <cstdint>
#include <span>

#include "lab/statistics.h"
#include "lab/task.h"

namespace millrace {

struct TaskScore {
  int64_t questions = 0;
  int64_t right = 0;
  double exact_match = 0;
  Interval
      exact_match_interval;  // Wilson; by the bootstrap over clusters where questions share one
  double f1 = 0;
  Interval f1_interval;  // bootstrap over clusters
};
TaskScore ScoreTask(std::span<const Judgement> judgements, std::span<const int32_t> clusters);

// The second model against the first, question by question.
struct TaskComparison {
  int64_t lost = 0;    // right in the first, wrong in the second
  int64_t gained = 0;  // the other way
  double mcnemar_p = 1;
  double difference = 0;         // of exact match, second less first
  Interval difference_interval;  // normal, errors by cluster
};
TaskComparison CompareTasks(std::span<const Judgement> first, std::span<const Judgement> second,
                            std::span<const int32_t> clusters);

}  // namespace millrace
