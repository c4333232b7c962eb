#include "conversion/budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace millrace {
namespace {

using Options = std::vector<std::vector<TypeOption>>;

// The least loss within the bytes, by trying everything.
double Best(const Options& tensors, int64_t bytes, size_t at = 0) {
  if (at == tensors.size()) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (const TypeOption& o : tensors[at]) {
    if (o.bytes > bytes) continue;
    best = std::min(best, o.loss + Best(tensors, bytes - o.bytes, at + 1));
  }
  return best;
}

Options RandomOptions(uint64_t seed) {
  CounterRng rng(seed, 0);
  Options tensors(6);
  for (auto& options : tensors) {
    int64_t bytes = 10 + static_cast<int64_t>(rng.NextU64() % 20);
    double loss = rng.NextDouble();
    for (int i = 0; i < 5; ++i) {
      options.push_back({DType::kQ8_0, bytes, loss});
      bytes += 1 + static_cast<int64_t>(rng.NextU64() % 20);
      loss *= 0.2 + 0.7 * rng.NextDouble();
    }
  }
  return tensors;
}

TEST(Budget, IsNearTheOptimumAndNeverOverTheBudget) {
  double ours = 0, optimum = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const Options tensors = RandomOptions(seed);
    for (const int64_t bytes : {130, 180, 230, 300}) {
      const auto plan = PlanWithin(tensors, bytes);
      const double best = Best(tensors, bytes);
      ASSERT_EQ(plan.has_value(), std::isfinite(best));
      if (!plan) continue;
      int64_t sum = 0;
      double loss = 0;
      for (size_t i = 0; i < tensors.size(); ++i) {
        sum += tensors[i][plan->choice[i]].bytes;
        loss += tensors[i][plan->choice[i]].loss;
      }
      EXPECT_EQ(plan->bytes, sum);
      EXPECT_NEAR(plan->loss, loss, 1e-9);
      ASSERT_LE(sum, bytes);
      EXPECT_LE(loss, 1.25 * best + 1e-12);
      ours += loss;
      optimum += best;
    }
  }
  EXPECT_LE(ours, 1.02 * optimum);
}

TEST(Budget, ForLossStopsAsSoonAsItIsReached) {
  const Options tensors = RandomOptions(7);
  const auto plan = PlanForLoss(tensors, 0.5);
  ASSERT_TRUE(plan);
  EXPECT_LE(plan->loss, 0.5);
  EXPECT_FALSE(PlanForLoss(tensors, 0).has_value());
  EXPECT_FALSE(PlanWithin(tensors, 10).has_value());
}

}  // namespace
}  // namespace millrace
