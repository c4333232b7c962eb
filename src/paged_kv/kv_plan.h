// KvPlan: how many KV blocks there will be, decided before any memory is asked for, so that what
// cannot fit is refused with a sentence and not met in the middle of an answer. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace millrace {

// What the KV cache may take, as the user says it: "2GiB", "512MiB", "1000000000", or a share of
// the free memory, "50%". Neither set: what the demand below is, but at most a quarter of it.
struct KvBudget {
  std::optional<int64_t> bytes;
  std::optional<double> share;  // in (0, 1]
};
Result<KvBudget> ParseKvBudget(std::string_view text);

struct KvDemand {
  int64_t block_bytes = 0;
  int32_t context_length = 0;        // wanted; shortened to what fits, but
  bool context_is_required = false;  // then it is an error where it does not fit
  int32_t max_running = 1;           // sequences of that length that are of use
  int64_t free_bytes = 0;            // of the machine's memory
};

struct KvPlan {
  int32_t context_length = 0;
  int32_t blocks = 0;
  int64_t bytes = 0;  // of all blocks
};
// Refused: a budget beyond the free memory, one that holds no block, or not the required context.
Result<KvPlan> PlanKv(const KvBudget& budget, const KvDemand& demand);

}  // namespace millrace
