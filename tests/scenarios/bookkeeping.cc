// What the scheduler and the prefix cache add to a step with 256 running requests and 100,000
// cached blocks, beside what such a step takes.
#include <fmt/format.h>

#include "continuous_batching/scheduler_load.h"
#include "tests/scenarios/stage.h"

namespace millrace::scenarios {
namespace {

constexpr int32_t kRunning = 256;
constexpr int32_t kCached = 100'000;

// Seconds of planning and committing a step.
double Planning() {
  SchedulerLoad load(kRunning, kCached);
  for (int i = 0; i < 200; ++i) load.Step();
  std::vector<double> seconds;
  const Clock clock;
  for (int i = 0; i < 2000; ++i) {
    const TimePoint start = clock.Now();
    load.Step();
    seconds.push_back(Seconds(clock.Now() - start));
  }
  double sum = 0;
  for (const double s : seconds) sum += s;
  return sum / static_cast<double>(seconds.size());
}

}  // namespace

Status Bookkeeping(Stage& stage) {
  constexpr int32_t kPrompt = 96, kOutput = 24;
  EngineConfig config;
  config.scheduler.max_running = kRunning;
  config.scheduler.max_step_tokens = 512;
  config.max_queued_requests = kRunning;
  Run run(stage, config, kRunning * BlocksFor(kPrompt + kOutput + kBlockTokens));
  for (uint64_t i = 0; i < kRunning; ++i) run.Submit(kPrompt, kOutput, i);
  run.Finish();
  std::vector<double> steps, besides;
  for (const StepRecord& step : run.steps()) {
    if (step.rows.decode != kRunning || step.rows.prefill > 0) continue;
    steps.push_back(Seconds(step.took));
    besides.push_back(Seconds(step.took - step.rows.forward));
  }
  if (steps.empty()) return Error{"no step had 256 decode rows and nothing else"};
  const double step = Percentile(steps, 0.5);
  const double planning = Planning();
  fmt::print("bookkeeping: {} running, {} cached blocks, {} threads\n", kRunning, kCached,
             stage.threads());
  fmt::print(
      "  a step of {} decode rows: median {:.1f} ms ({} steps); of it, beside the model's "
      "Forward (greedy sampling and events included) {:.2f} ms\n",
      kRunning, step * 1e3, steps.size(), Percentile(besides, 0.5) * 1e3);
  fmt::print(
      "  plan, commit, prefix cache with {} blocks: mean {:.1f} us, {:.3f} % of the step "
      "(goal 1 %)\n",
      kCached, planning * 1e6, 100 * planning / step);
  return {};
}

}  // namespace millrace::scenarios
