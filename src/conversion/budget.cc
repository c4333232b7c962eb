#include "conversion/budget.h"

#include <algorithm>

namespace millrace {
namespace {

using Options = std::span<const std::vector<TypeOption>>;

BudgetPlan Smallest(Options tensors) {
  BudgetPlan plan;
  for (const auto& options : tensors) {
    size_t best = 0;
    for (size_t i = 1; i < options.size(); ++i) {
      const bool smaller = options[i].bytes < options[best].bytes;
      const bool better =
          options[i].bytes == options[best].bytes && options[i].loss < options[best].loss;
      if (smaller || better) best = i;
    }
    plan.choice.push_back(best);
    plan.bytes += options[best].bytes;
    plan.loss += options[best].loss;
  }
  return plan;
}

struct Move {
  size_t tensor = 0, option = 0;
  double gain_per_byte = 0;
};

// The exchange that saves most loss for each byte that it adds, among those of at most `room`
// bytes; a better type that is no larger comes before all.
std::optional<Move> BestMove(Options tensors, const BudgetPlan& plan, int64_t room) {
  std::optional<Move> best;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const TypeOption& now = tensors[t][plan.choice[t]];
    for (size_t i = 0; i < tensors[t].size(); ++i) {
      const TypeOption& next = tensors[t][i];
      const int64_t added = next.bytes - now.bytes;
      const double gain = now.loss - next.loss;
      if (!(gain > 0) || added > room) continue;
      const double rate = gain / static_cast<double>(std::max<int64_t>(added, 1));
      if (!best || rate > best->gain_per_byte) best = Move{t, i, rate};
    }
  }
  return best;
}

void Apply(Options tensors, const Move& move, BudgetPlan& plan) {
  const TypeOption& now = tensors[move.tensor][plan.choice[move.tensor]];
  const TypeOption& next = tensors[move.tensor][move.option];
  plan.bytes += next.bytes - now.bytes;
  plan.loss += next.loss - now.loss;
  plan.choice[move.tensor] = move.option;
}

// Pairs of exchanges: one tensor gives bytes up, another takes them. What greedy steps cannot do.
bool ImproveByPairs(Options tensors, int64_t bytes, BudgetPlan& plan) {
  for (size_t t = 0; t < tensors.size(); ++t) {
    for (size_t i = 0; i < tensors[t].size(); ++i) {
      if (tensors[t][i].bytes >= tensors[t][plan.choice[t]].bytes) continue;
      BudgetPlan trial = plan;
      Apply(tensors, {t, i, 0}, trial);
      while (const auto move = BestMove(tensors, trial, bytes - trial.bytes)) {
        if (move->tensor == t && trial.loss >= plan.loss && move->option == plan.choice[t]) break;
        Apply(tensors, *move, trial);
      }
      if (trial.loss < plan.loss * (1 - 1e-9) && trial.bytes <= bytes) {
        plan = trial;
        return true;
      }
    }
  }
  return false;
}

}  // namespace

std::optional<BudgetPlan> PlanWithin(Options tensors, int64_t bytes) {
  BudgetPlan plan = Smallest(tensors);
  if (plan.bytes > bytes) return std::nullopt;
  while (const auto move = BestMove(tensors, plan, bytes - plan.bytes)) Apply(tensors, *move, plan);
  constexpr int kMostRounds = 100;
  for (int i = 0; i < kMostRounds && ImproveByPairs(tensors, bytes, plan); ++i) {
  }
  return plan;
}

std::optional<BudgetPlan> PlanForLoss(Options tensors, double loss) {
  BudgetPlan plan = Smallest(tensors);
  while (plan.loss > loss) {
    const auto move = BestMove(tensors, plan, INT64_MAX / 2);
    if (!move) return std::nullopt;
    Apply(tensors, *move, plan);
  }
  return plan;
}

}  // namespace millrace
