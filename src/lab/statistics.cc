#include "lab/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/rng.h"

namespace millrace {
namespace {

// The values of each cluster that has any.
std::vector<std::vector<double>> Grouped(std::span<const double> values,
                                         std::span<const int32_t> cluster) {
  CHECK(values.size() == cluster.size());
  std::vector<std::vector<double>> groups;
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(cluster[i] >= 0);
    const auto g = static_cast<size_t>(cluster[i]);
    if (g >= groups.size()) groups.resize(g + 1);
    groups[g].push_back(values[i]);
  }
  std::erase_if(groups, [](const std::vector<double>& g) { return g.empty(); });
  return groups;
}

template <class Estimate>
Interval Bootstrap(const std::vector<std::vector<double>>& groups, int resamples, uint64_t seed,
                   const Estimate& estimate) {
  if (groups.empty()) return {};
  std::vector<double> estimates;
  for (int r = 0; r < resamples; ++r) {
    CounterRng rng(seed, static_cast<uint64_t>(r));
    std::vector<size_t> picks(groups.size());
    for (size_t& pick : picks) pick = static_cast<size_t>(rng.NextU64() % groups.size());
    estimates.push_back(estimate(picks));
  }
  return {Quantile(estimates, 0.025), Quantile(estimates, 0.975)};
}

}  // namespace

Interval Wilson(int64_t right, int64_t count) {
  if (count == 0) return {0, 1};
  const double n = static_cast<double>(count), p = static_cast<double>(right) / n;
  const double z2 = kNormal95 * kNormal95;
  const double centre = p + z2 / (2 * n);
  const double half = kNormal95 * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, (centre - half) / (1 + z2 / n)),
          std::min(1.0, (centre + half) / (1 + z2 / n))};
}

double McNemarExact(int64_t gained, int64_t lost) {
  const int64_t n = gained + lost, few = std::min(gained, lost);
  if (n == 0) return 1;
  double tail = 0;  // P(X <= few), X binomial of n fair coins
  for (int64_t k = 0; k <= few; ++k) {
    const auto d = [](int64_t v) { return static_cast<double>(v); };
    tail += std::exp(std::lgamma(d(n) + 1) - std::lgamma(d(k) + 1) - std::lgamma(d(n - k) + 1) -
                     d(n) * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

ClusteredMean MeanByCluster(std::span<const double> values, std::span<const int32_t> cluster) {
  ClusteredMean result;
  result.count = static_cast<int64_t>(values.size());
  if (values.empty()) return result;
  double sum = 0;
  for (const double v : values) sum += v;
  const double n = static_cast<double>(values.size());
  result.mean = sum / n;
  const auto groups = Grouped(values, cluster);
  result.clusters = static_cast<int64_t>(groups.size());
  if (groups.size() < 2) {
    result.standard_error = std::numeric_limits<double>::infinity();
    return result;
  }
  double squares = 0;
  for (const auto& group : groups) {
    double off = 0;
    for (const double v : group) off += v - result.mean;
    squares += off * off;
  }
  const double g = static_cast<double>(groups.size());
  result.standard_error = std::sqrt(g / (g - 1) * squares) / n;
  return result;
}

double Quantile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = p * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

double Median(std::vector<double> values) { return Quantile(std::move(values), 0.5); }

Interval BootstrapQuantile(std::span<const double> values, std::span<const int32_t> cluster,
                           double p, int resamples, uint64_t seed) {
  const auto groups = Grouped(values, cluster);
  return Bootstrap(groups, resamples, seed, [&](const std::vector<size_t>& picks) {
    std::vector<double> sample;
    for (const size_t g : picks) sample.insert(sample.end(), groups[g].begin(), groups[g].end());
    return Quantile(std::move(sample), p);
  });
}

Interval BootstrapMean(std::span<const double> values, std::span<const int32_t> cluster,
                       int resamples, uint64_t seed) {
  const auto groups = Grouped(values, cluster);
  return Bootstrap(groups, resamples, seed, [&](const std::vector<size_t>& picks) {
    double sum = 0, count = 0;
    for (const size_t g : picks) {
      for (const double v : groups[g]) sum += v;
      count += static_cast<double>(groups[g].size());
    }
    return sum / count;
  });
}

}  // namespace millrace
