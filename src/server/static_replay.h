// The same requests under static batching: what the last steps' batch would have been, had the next
// batch begun only when the last one's longest member was done. Internal to server/.
//
// The real Scheduler plans it, in its static mode and with as many places as the window had
// sequences side by side at most. A request arrives when the step began in which the window first
// shows it, has as many prompt tokens as were computed there and makes as many steps of output as
// it made there, of as many rows (with drafts) as they had on the mean: one that began before the
// window or goes on behind it counts for what of it lies within.
//
// A step takes what those of the window say for its rows, by a straight line through their medians,
// times the factor by which they took longer together than that: so what slowed the window slows
// the replay alike. `cost`, which the engine learnt from its steps, helps where all of the window's
// had as many rows. Where none of them only decoded, time is counted in steps, and the milliseconds
// stay 0.
#pragma once

#include <span>

#include "continuous_batching/scheduler.h"
#include "continuous_batching/step_cost.h"
#include "openai_api/feed_json.h"

namespace millrace::server_internal {

StaticReplay ReplayStatically(std::span<const TimelineStep> steps, const SchedulerConfig& config,
                              const StepCost& cost = {});

}  // namespace millrace::server_internal
