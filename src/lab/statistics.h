// The statistics of the lab: intervals for shares and means, paired tests. Formulas beside the
// names; all exact or deterministic (the bootstrap has a seed).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

inline constexpr double kNormal95 = 1.959963984540054;  // the normal quantile of a 95 % interval

struct Interval {
  double low = 0;
  double high = 0;
};

// Wilson's score interval (1927) of a share: `right` of `count`, 95 %. [0, 1] for a count of 0.
Interval Wilson(int64_t right, int64_t count);

// McNemar's exact test (1947): the two-sided probability, under a fair coin, of a split at least as
// uneven as `gained` against `lost` among paired items that changed. 1 where none did.
double McNemarExact(int64_t gained, int64_t lost);

struct ClusteredMean {
  double mean = 0;
  // sqrt(G/(G-1) sum_g (sum_{i in g} (x_i - mean))^2) / N: items of one cluster (a document) may
  // depend on each other. Infinite with one cluster.
  double standard_error = 0;
  int64_t count = 0;
  int64_t clusters = 0;
};
// cluster[i] >= 0 is the cluster of values[i]; clusters without values do not count.
ClusteredMean MeanByCluster(std::span<const double> values, std::span<const int32_t> cluster);

// The value below which a share `p` of the values lies, linear between neighbours; 0 for none.
double Quantile(std::vector<double> values, double p);
double Median(std::vector<double> values);

// 95 % percentile interval of Quantile(values, p), resampling whole clusters `resamples` times.
Interval BootstrapQuantile(std::span<const double> values, std::span<const int32_t> cluster,
                           double p, int resamples, uint64_t seed);
// The same of the mean: for scores whose clusters are few or uneven.
Interval BootstrapMean(std::span<const double> values, std::span<const int32_t> cluster,
                       int resamples, uint64_t seed);

}  // namespace millrace
