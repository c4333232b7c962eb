// Against values worked out by hand or published.
#include "lab/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace millrace {
namespace {

TEST(Wilson, PublishedValues) {
  // Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
  EXPECT_NEAR(Wilson(81, 263).low, 0.2553, 5e-5);
  EXPECT_NEAR(Wilson(81, 263).high, 0.3662, 5e-5);
  EXPECT_EQ(Wilson(0, 20).low, 0);
  EXPECT_NEAR(Wilson(0, 20).high, 0.1611, 5e-5);
  EXPECT_EQ(Wilson(0, 0).high, 1);
}

TEST(McNemar, ExactBinomial) {
  EXPECT_EQ(McNemarExact(0, 0), 1);
  EXPECT_NEAR(McNemarExact(0, 5), 2.0 / 32, 1e-12);
  EXPECT_NEAR(McNemarExact(5, 0), 2.0 / 32, 1e-12);
  EXPECT_NEAR(McNemarExact(1, 3), 2.0 * 5 / 16, 1e-12);
  EXPECT_EQ(McNemarExact(4, 4), 1);
}

TEST(MeanByCluster, ClustersThatAgreeAreFewObservations) {
  const std::vector<double> values = {1, 1, 1, 1, 3, 3, 3, 3};
  const std::vector<int32_t> each = {0, 1, 2, 3, 4, 5, 6, 7}, two = {0, 0, 0, 0, 5, 5, 5, 5};
  const ClusteredMean apart = MeanByCluster(values, each), together = MeanByCluster(values, two);
  EXPECT_EQ(apart.mean, 2);
  EXPECT_NEAR(apart.standard_error, std::sqrt(8.0 / 7 * 8) / 8, 1e-12);
  EXPECT_EQ(together.clusters, 2);
  EXPECT_NEAR(together.standard_error, std::sqrt(2.0 * 32) / 8, 1e-12);
  EXPECT_TRUE(std::isinf(MeanByCluster(values, std::vector<int32_t>(8, 0)).standard_error));
}

TEST(Quantile, LinearBetweenNeighbours) {
  EXPECT_EQ(Quantile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(Quantile({0, 10}, 0.25), 2.5);
  EXPECT_EQ(Quantile({7}, 0.99), 7);
  EXPECT_EQ(Quantile({}, 0.5), 0);
}

TEST(Bootstrap, IntervalHoldsTheMeanAndNarrowsWithClusters) {
  std::vector<double> values;
  std::vector<int32_t> cluster;
  for (int i = 0; i < 400; ++i) {
    values.push_back(i % 7);
    cluster.push_back(i);
  }
  const Interval all = BootstrapMean(values, cluster, 500, 1);
  const Interval few =
      BootstrapMean(std::span(values).first(40), std::span(cluster).first(40), 500, 1);
  EXPECT_LT(all.low, 3);
  EXPECT_GT(all.high, 2.98);
  EXPECT_LT(all.high - all.low, 0.6 * (few.high - few.low));
  // Normal theory: 2 * 1.96 * 2 / sqrt(400) = 0.392.
  EXPECT_NEAR(all.high - all.low, 0.392, 0.06);
  const Interval p90 = BootstrapQuantile(values, cluster, 0.9, 200, 1);
  EXPECT_LE(p90.low, 6);
  EXPECT_GE(p90.high, 6);
}

}  // namespace
}  // namespace millrace
