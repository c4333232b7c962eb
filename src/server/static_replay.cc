#include "server/static_replay.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace millrace::server_internal {
namespace {

using Kind = TimelinePart::Kind;

bool Computes(const TimelinePart& part) {
  return part.kind == Kind::kPrefill || part.kind == Kind::kDecode;
}

struct SeenRequest {
  double arrival = 0;       // on the replay's clock
  int32_t prompt = 0;       // rows
  int32_t output = 0;       // steps that gave tokens
  int32_t decode_rows = 0;  // with those of drafts
  int32_t decode_steps = 0;

  int32_t RowsPerStep() const {
    return decode_steps > 0 ? (decode_rows + decode_steps / 2) / decode_steps : 1;
  }
};

// Rows of a step.
struct StepRows {
  int32_t decode = 0, prefill = 0;
};

StepRows RowsOf(const TimelineStep& step) {
  StepRows rows;
  for (const TimelinePart& part : step.parts) {
    if (part.kind == Kind::kDecode) rows.decode += part.tokens;
    if (part.kind == Kind::kPrefill) rows.prefill += part.tokens;
  }
  return rows;
}

double MedianOf(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Milliseconds of a step by its rows: fixed + decode_row * decode + prefill_row * prefill, times
// the factor that makes the window's own steps take together what they took. Where that is not
// known, each step is one tick.
struct StepClock {
  bool timed = false;
  double fixed = 0, decode_row = 0, prefill_row = 0, factor = 1;

  double Of(const StepRows& rows) const {
    if (!timed) return 1;
    if (rows.decode + rows.prefill == 0) return 0;
    return factor * (fixed + decode_row * rows.decode + prefill_row * rows.prefill);
  }
};

// The straight line through the medians of the steps that only decoded, by their rows: medians,
// because a step now and then takes many times as long (the machine did something else), and the
// median of the slopes between them (Theil and Sen). From one number of rows, `cost` says how much
// a row more would take. Not less than nothing, neither a row nor the fixed part.
bool FitDecode(const std::map<int32_t, std::vector<double>>& by_rows, const StepCost& cost,
               StepClock& clock) {
  if (by_rows.empty()) return false;
  std::vector<std::pair<double, double>> points;
  for (const auto& [rows, ms] : by_rows) points.emplace_back(rows, MedianOf(ms));
  std::vector<double> slopes;
  double steepest = points[0].second / points[0].first;
  for (size_t i = 0; i < points.size(); ++i) {
    steepest = std::min(steepest, points[i].second / points[i].first);
    for (size_t j = 0; j < i; ++j) {
      slopes.push_back((points[i].second - points[j].second) / (points[i].first - points[j].first));
    }
  }
  if (slopes.empty()) {
    const auto rows = static_cast<int32_t>(points[0].first);
    slopes.push_back(Milliseconds(cost.Decode(rows + 1).value_or(Duration()) -
                                  cost.Decode(rows).value_or(Duration())));
  }
  clock.decode_row = std::clamp(MedianOf(slopes), 0.0, steepest);
  std::vector<double> rest;
  for (const auto& [rows, ms] : points) rest.push_back(ms - clock.decode_row * rows);
  clock.fixed = MedianOf(rest);
  return true;
}

StepClock ClockOf(std::span<const TimelineStep> steps, const StepCost& cost) {
  StepClock clock;
  std::map<int32_t, std::vector<double>> decoding;
  for (const TimelineStep& step : steps) {
    const StepRows rows = RowsOf(step);
    if (rows.decode > 0 && rows.prefill == 0 && step.took > Duration())
      decoding[rows.decode].push_back(Milliseconds(step.took));
  }
  if (!FitDecode(decoding, cost, clock)) return {};
  std::vector<double> prefill;
  for (const TimelineStep& step : steps) {
    const StepRows rows = RowsOf(step);
    if (rows.prefill == 0) continue;
    const double decode = clock.fixed + clock.decode_row * rows.decode;
    prefill.push_back(std::max(0.0, Milliseconds(step.took) - decode) / rows.prefill);
  }
  if (!prefill.empty()) clock.prefill_row = MedianOf(prefill);
  clock.timed = true;
  double modelled = 0, measured = 0;
  for (const TimelineStep& step : steps) {
    modelled += clock.Of(RowsOf(step));
    measured += Milliseconds(step.took);
  }
  if (modelled <= 0) return {};
  clock.factor = measured / modelled;
  return clock;
}

std::map<RequestId, SeenRequest> RequestsOf(std::span<const TimelineStep> steps,
                                            const StepClock& clock) {
  std::map<RequestId, SeenRequest> seen;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double now =
        clock.timed ? Milliseconds(steps[i].begun - steps[0].begun) : static_cast<double>(i);
    for (const TimelinePart& part : steps[i].parts) {
      SeenRequest& request =
          seen.try_emplace(part.request, SeenRequest{.arrival = now}).first->second;
      if (part.kind == Kind::kPrefill) request.prompt += part.tokens;
      if (part.kind == Kind::kDecode) {
        request.decode_rows += part.tokens;
        ++request.decode_steps;
      }
      if (Computes(part) && part.emitted > 0) ++request.output;
    }
  }
  std::erase_if(
      seen, [](const auto& entry) { return entry.second.prompt == 0 && entry.second.output == 0; });
  return seen;
}

class StaticRun {
 public:
  StaticRun(std::map<RequestId, SeenRequest> seen, const SchedulerConfig& config,
            const StepClock& clock)
      : seen_(std::move(seen)), clock_(clock), pool_(BlocksOf(seen_)), scheduler_(config, pool_) {
    for (const auto& [id, r] : seen_) arrivals_.emplace(r.arrival, id);
  }

  // Steps it until everything is done, at most `most` steps.
  std::vector<TimelineStep> Run(int64_t most) {
    for (int64_t number = 0; number < most; ++number) {
      TakeArrivals();
      const bool nobody = scheduler_.running() + scheduler_.waiting() == 0;
      if (nobody && arrivals_.empty()) break;
      TimelineStep& shown = steps_.emplace_back();
      shown.number = number;
      shown.begun = TimePoint{} + Span(now_);
      const double ticks = nobody ? UntilNext() : Step(shown);
      shown.took = Span(ticks);
      now_ += ticks;
    }
    return std::move(steps_);
  }
  double now() const { return now_; }

 private:
  static int32_t BlocksOf(const std::map<RequestId, SeenRequest>& seen) {
    int32_t blocks = 0;
    for (const auto& [id, r] : seen) blocks += BlocksFor(std::max(r.prompt, 1) + r.output + 1) + 2;
    return std::max(blocks, 1);
  }
  Duration Span(double ticks) const {
    if (!clock_.timed) return Duration();
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(ticks));
  }
  double UntilNext() const { return !clock_.timed ? 1 : arrivals_.begin()->first - now_; }

  void TakeArrivals() {
    while (!arrivals_.empty() && arrivals_.begin()->first <= now_) {
      const RequestId id = arrivals_.begin()->second;
      const SeenRequest& r = seen_.at(id);
      const int32_t prompt = std::max(r.prompt, 1);
      left_[id] = std::max(r.output, 1);
      scheduler_.Add(id, prompt, prompt + left_[id] + 1);
      arrivals_.erase(arrivals_.begin());
    }
  }

  double Step(TimelineStep& shown) {
    const StepPlan plan = scheduler_.PlanStep();
    StepRows rows;
    std::vector<int32_t> appended;
    std::vector<RequestId> ended;
    for (const Slice& slice : plan.slices) {
      const bool decodes = slice.samples && slice.count == 1;
      const bool finished = slice.samples && --left_.at(slice.request) == 0;
      (decodes ? rows.decode : rows.prefill) +=
          decodes ? seen_.at(slice.request).RowsPerStep() : slice.count;
      appended.push_back(slice.samples ? 1 : 0);
      if (finished) ended.push_back(slice.request);
      shown.parts.push_back({.request = slice.request,
                             .kind = decodes ? Kind::kDecode : Kind::kPrefill,
                             .finished = finished,
                             .tokens = slice.count,
                             .emitted = slice.samples ? 1 : 0});
    }
    scheduler_.Commit(plan, appended);
    for (const RequestId id : ended) scheduler_.Remove(id);
    shown.waiting = scheduler_.waiting();
    return clock_.Of(rows);
  }

  const std::map<RequestId, SeenRequest> seen_;
  const StepClock clock_;
  BlockPool pool_;
  Scheduler scheduler_;
  std::multimap<double, RequestId> arrivals_;
  std::map<RequestId, int32_t> left_;  // steps of output
  std::vector<TimelineStep> steps_;
  double now_ = 0;  // ticks
};

}  // namespace

StaticReplay ReplayStatically(std::span<const TimelineStep> steps, const SchedulerConfig& config,
                              const StepCost& cost) {
  StaticReplay replay;
  replay.steps = static_cast<int64_t>(steps.size());
  for (const TimelineStep& step : steps) {
    const auto busy =
        static_cast<int32_t>(std::count_if(step.parts.begin(), step.parts.end(), Computes));
    replay.busy += busy;
    replay.busy_ms += busy * Milliseconds(step.took);
    replay.places = std::max(replay.places, busy);
  }
  const StepClock clock = ClockOf(steps, cost);
  auto seen = RequestsOf(steps, clock);
  if (seen.empty() || replay.places == 0) return replay;
  replay.ms = Milliseconds(steps.back().begun + steps.back().took - steps.front().begun);
  int64_t most_steps = 2 * replay.steps;
  for (const auto& [id, r] : seen) most_steps += r.prompt + r.output + 1;
  SchedulerConfig fixed = config;
  fixed.batching = Batching::kStatic;
  fixed.layout = KvLayout::kPaged;
  fixed.max_running = replay.places;
  fixed.max_draft = 0;
  fixed.target_interval = std::nullopt;
  StaticRun run(std::move(seen), fixed, clock);
  replay.replayed = run.Run(most_steps);
  replay.static_steps = static_cast<int64_t>(replay.replayed.size());
  if (clock.timed) replay.static_ms = run.now();
  for (const TimelineStep& step : replay.replayed) {
    const auto busy = static_cast<int64_t>(step.parts.size());
    replay.static_busy += busy;
    replay.static_busy_ms += static_cast<double>(busy) * Milliseconds(step.took);
  }
  return replay;
}

}  // namespace millrace::server_internal
