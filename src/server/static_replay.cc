#include "server/static_replay.h"

#include <algorithm>
#include <map>

namespace millrace::server_internal {
namespace {

using Kind = TimelinePart::Kind;

bool Computes(const TimelinePart& part) {
  return part.kind == Kind::kPrefill || part.kind == Kind::kDecode;
}

struct SeenRequest {
  size_t arrival = 0;  // index of the step
  int32_t prompt = 0;  // rows
  int32_t output = 0;  // steps that gave tokens
};

std::map<RequestId, SeenRequest> RequestsOf(std::span<const TimelineStep> steps) {
  std::map<RequestId, SeenRequest> seen;
  for (size_t i = 0; i < steps.size(); ++i) {
    for (const TimelinePart& part : steps[i].parts) {
      SeenRequest& request =
          seen.try_emplace(part.request, SeenRequest{.arrival = i}).first->second;
      if (part.kind == Kind::kPrefill) request.prompt += part.tokens;
      if (Computes(part) && part.emitted > 0) ++request.output;
    }
  }
  std::erase_if(
      seen, [](const auto& entry) { return entry.second.prompt == 0 && entry.second.output == 0; });
  return seen;
}

// Steps it until everything is done; `replay` gets the steps.
void RunStatic(const std::map<RequestId, SeenRequest>& seen, const SchedulerConfig& config,
               StaticReplay& replay) {
  int32_t blocks = 0;
  int64_t most_steps = 0;
  for (const auto& [id, r] : seen) {
    blocks += BlocksFor(std::max(r.prompt, 1) + r.output + 1) + 2;
    most_steps += r.prompt + r.output + 1;
  }
  BlockPool pool(std::max(blocks, 1));
  Scheduler scheduler(config, pool);
  std::map<RequestId, int32_t> left;
  std::map<size_t, std::vector<RequestId>> arrivals;
  for (const auto& [id, r] : seen) arrivals[r.arrival].push_back(id);
  for (size_t step = 0; static_cast<int64_t>(step) < most_steps + replay.steps; ++step) {
    for (const RequestId id : arrivals[step]) {
      const SeenRequest& r = seen.at(id);
      const int32_t prompt = std::max(r.prompt, 1);
      left[id] = std::max(r.output, 1);
      scheduler.Add(id, prompt, prompt + left[id] + 1);
    }
    arrivals.erase(step);
    if (scheduler.running() + scheduler.waiting() == 0) {
      if (arrivals.empty()) break;
      replay.replayed.emplace_back().number = static_cast<int64_t>(step);
      continue;
    }
    const StepPlan plan = scheduler.PlanStep();
    TimelineStep& shown = replay.replayed.emplace_back();
    shown.number = static_cast<int64_t>(step);
    std::vector<int32_t> appended;
    std::vector<RequestId> ended;
    for (const Slice& slice : plan.slices) {
      const bool finished = slice.samples && --left.at(slice.request) == 0;
      appended.push_back(slice.samples ? 1 : 0);
      if (finished) ended.push_back(slice.request);
      shown.parts.push_back(
          {.request = slice.request,
           .kind = slice.samples && slice.count == 1 ? Kind::kDecode : Kind::kPrefill,
           .finished = finished,
           .tokens = slice.count,
           .emitted = slice.samples ? 1 : 0});
    }
    scheduler.Commit(plan, appended);
    for (const RequestId id : ended) scheduler.Remove(id);
    shown.waiting = scheduler.waiting();
  }
}

}  // namespace

StaticReplay ReplayStatically(std::span<const TimelineStep> steps, const SchedulerConfig& config) {
  StaticReplay replay;
  replay.steps = static_cast<int64_t>(steps.size());
  for (const TimelineStep& step : steps) {
    const auto busy =
        static_cast<int32_t>(std::count_if(step.parts.begin(), step.parts.end(), Computes));
    replay.busy += busy;
    replay.places = std::max(replay.places, busy);
  }
  const auto seen = RequestsOf(steps);
  if (seen.empty() || replay.places == 0) return replay;
  SchedulerConfig fixed = config;
  fixed.batching = Batching::kStatic;
  fixed.layout = KvLayout::kPaged;
  fixed.max_running = replay.places;
  fixed.max_draft = 0;
  fixed.target_interval = std::nullopt;
  RunStatic(seen, fixed, replay);
  replay.static_steps = static_cast<int64_t>(replay.replayed.size());
  for (const TimelineStep& step : replay.replayed)
    replay.static_busy += static_cast<int64_t>(step.parts.size());
  return replay;
}

}  // namespace millrace::server_internal
