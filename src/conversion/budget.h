// The best use of a byte budget: of each tensor one of several types, so that the expected loss is
// least and the bytes are not exceeded. Pure arithmetic; what the losses are is the caller's
// business (lab/sensitivity.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/dtype.h"

namespace millrace {

struct TypeOption {
  DType type = DType::kF16;
  int64_t bytes = 0;
  double loss = 0;  // expected, e.g. KL in nats with this tensor alone in this type
};

struct BudgetPlan {
  std::vector<size_t> choice;  // of each tensor, the index into its options
  int64_t bytes = 0;
  double loss = 0;  // the sum: losses of single tensors about add up while they are small
};

// The plan of least loss within `bytes`. Nothing where even the smallest options exceed it. Every
// tensor has at least one option. Steps of most loss saved per byte, which follow the convex hull
// of each tensor's options (Fox 1966), then exchanges between two tensors; near the optimum, not
// proven to be it.
std::optional<BudgetPlan> PlanWithin(std::span<const std::vector<TypeOption>> tensors,
                                     int64_t bytes);

// The smallest plan found whose expected loss is at most `loss`; nothing where even the best
// options exceed it.
std::optional<BudgetPlan> PlanForLoss(std::span<const std::vector<TypeOption>> tensors,
                                      double loss);

}  // namespace millrace
