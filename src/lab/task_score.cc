#include "lab/task_score.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/check.h"

namespace millrace {
namespace {

constexpr int kResamples = 1000;

}  // namespace

TaskScore ScoreTask(std::span<const Judgement> judgements, std::span<const int32_t> clusters) {
  CHECK(judgements.size() == clusters.size());
  TaskScore score;
  std::vector<double> right, f1;
  for (const Judgement& j : judgements) {
    score.right += j.right ? 1 : 0;
    right.push_back(j.right ? 1 : 0);
    f1.push_back(j.f1);
  }
  score.questions = static_cast<int64_t>(judgements.size());
  score.exact_match = MeanByCluster(right, clusters).mean;
  const bool single = std::set(clusters.begin(), clusters.end()).size() == clusters.size();
  score.exact_match_interval =
      single ? Wilson(score.right, score.questions) : BootstrapMean(right, clusters, kResamples, 1);
  score.f1 = MeanByCluster(f1, clusters).mean;
  score.f1_interval = BootstrapMean(f1, clusters, kResamples, 1);
  return score;
}

TaskComparison CompareTasks(std::span<const Judgement> first, std::span<const Judgement> second,
                            std::span<const int32_t> clusters) {
  CHECK(first.size() == second.size() && first.size() == clusters.size());
  TaskComparison comparison;
  std::vector<double> change;
  for (size_t i = 0; i < first.size(); ++i) {
    comparison.lost += first[i].right && !second[i].right ? 1 : 0;
    comparison.gained += !first[i].right && second[i].right ? 1 : 0;
    change.push_back((second[i].right ? 1 : 0) - (first[i].right ? 1 : 0));
  }
  comparison.mcnemar_p = McNemarExact(comparison.gained, comparison.lost);
  const ClusteredMean mean = MeanByCluster(change, clusters);
  comparison.difference = mean.mean;
  const double half = kNormal95 * mean.standard_error;
  comparison.difference_interval = {std::max(-1.0, mean.mean - half),
                                    std::min(1.0, mean.mean + half)};
  return comparison;
}

}  // namespace millrace
