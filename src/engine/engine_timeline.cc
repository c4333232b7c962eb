// What the timeline is told of a step.
#include "engine/engine_state.h"

namespace millrace {

void Engine::State::NoteParts(const StepPlan& plan) {
  if (!timeline.enabled()) return;
  using Kind = TimelinePart::Kind;
  std::vector<TimelinePart>& parts = timeline_step.parts;
  parts.clear();
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Slice& slice = plan.slices[i];
    parts.push_back({.request = slice.request,
                     .kind = slice.samples && slice.count == 1 ? Kind::kDecode : Kind::kPrefill,
                     .tokens = slice.count + slice.drafted,
                     .drafted = slice.drafted,
                     .emitted = appended[i]});
  }
  for (const Admission& admission : plan.admitted) {
    for (TimelinePart& part : parts) {
      if (part.request == admission.request) part.cached = admission.cached;
    }
  }
  for (const Outcome& outcome : outcomes) {
    if (!outcome.finish) continue;
    for (TimelinePart& part : parts) {
      if (part.request == outcome.request->id) part.finished = true;
    }
  }
  const int64_t this_step = progress.steps - 1;  // Commit has counted it
  size_t waiting = 0;
  for (const auto& [id, request] : live) {
    if (request.last_step == this_step) continue;
    const Kind kind = request.preempted         ? Kind::kPreempted
                      : request.first_scheduled ? Kind::kIdle
                                                : Kind::kQueued;
    parts.push_back({.request = id, .kind = kind});
    if (kind != Kind::kIdle && ++waiting == Timeline::kMostQueued) break;
  }
}

void Engine::State::NoteStep(TimePoint begun, TimePoint ended) {
  if (!timeline.enabled()) return;
  timeline_step.number = progress.steps;
  timeline_step.begun = begun;
  timeline_step.took = ended - begun;
  timeline_step.waiting = scheduler.waiting();
  timeline.Add(timeline_step);
}

}  // namespace millrace
