// What the requests served lately would have taken without one of the optimisations. Internal to
// server/.
//
// They are served again, by the real Scheduler in the mode in question, by a clock of its own and
// the step times that the engine has measured (StepCost): so what others wait counts, too. The
// served way is replayed as well, and the two replays are compared, so that what both leave out
// cancels: the sharing of memory, drafts' own rows, preemptions by swapping. A request arrives when
// it did, but there are never more at once than there were: clients that wait for answers are not
// replaced by ones that do not.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "continuous_batching/scheduler.h"

namespace millrace::server_internal {

// A request that was completed.
struct ServedRequest {
  double arrival_ms = 0;      // since the server's start
  double total_ms = 0;        // until its end
  double outside_ms = 0;      // of them, those that the engine had no part in: parsing, choosing...
  int32_t prompt_tokens = 0;  // of one choice
  int32_t cached_tokens = 0;  // of them, those that were not computed
  int32_t output_steps = 0;   // of all choices: tokens, less those that came as accepted drafts
  int32_t choices = 1;
  int32_t max_tokens = 0;  // its own limit; contiguous memory is reserved for it
};

struct ServedBy {
  SchedulerConfig scheduler;
  StepCost cost;
  int32_t blocks = 0;
};

struct Without {
  bool prefix_cache = false;  // all prompt tokens are computed
  bool continuous = false;    // static batches
  bool paged = false;         // a region each, which shares nothing
  double step_factor = 1;     // what a step takes more
};

// The mean of the requests' times in milliseconds, what was outside the engine as it was. Nothing
// where the engine has not measured what steps take, or where it would be more than kMostSteps
// steps.
inline constexpr int32_t kMostSteps = 20'000;
std::optional<double> MeanRequestMs(std::span<const ServedRequest> requests, const ServedBy& engine,
                                    const Without& without);

}  // namespace millrace::server_internal
