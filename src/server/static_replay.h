// The same requests under static batching: what the last steps' batch would have been, had the next
// batch begun only when the last one's longest member was done. Internal to server/.
//
// The real Scheduler plans it, in its static mode and with as many places as the window had
// sequences side by side at most. Time is counted in steps. A request arrives in the step in which
// the window first shows it, has as many prompt tokens as were computed there and makes as many
// steps of output as it made there: one that began before the window or goes on behind it counts
// for what of it lies within.
#pragma once

#include <span>

#include "continuous_batching/scheduler.h"
#include "openai_api/feed_json.h"

namespace millrace::server_internal {

StaticReplay ReplayStatically(std::span<const TimelineStep> steps, const SchedulerConfig& config);

}  // namespace millrace::server_internal
