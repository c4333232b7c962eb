// PlanStep + Commit with a full batch: what the scheduler adds to a step, without any model.
#include <benchmark/benchmark.h>

#include <vector>

#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

constexpr int32_t kPrompt = 100;
constexpr int32_t kMaxLength = 1000;

// All sequences decode; the ones that reach kMaxLength are replaced, as in steady service.
void BM_PlanAndCommit(benchmark::State& state) {
  const auto running = static_cast<int32_t>(state.range(0));
  BlockPool pool(running * BlocksFor(kMaxLength));
  Scheduler scheduler({.max_running = running, .max_step_tokens = running + 512}, pool);
  int64_t next_id = 0;
  std::vector<int32_t> lengths;
  const auto add = [&](int32_t prompt) {
    scheduler.Add(RequestId(next_id++), prompt, kMaxLength);
    lengths.push_back(prompt);
  };
  // Different lengths, so that the sequences open blocks and end at different steps.
  for (int32_t i = 0; i < running; ++i) add(kPrompt + i * (kMaxLength - kPrompt) / running);
  std::vector<int32_t> appended;
  int64_t rows = 0;
  for (auto _ : state) {
    const StepPlan plan = scheduler.PlanStep();
    appended.assign(plan.slices.size(), 0);
    for (size_t i = 0; i < plan.slices.size(); ++i) {
      const Slice& slice = plan.slices[i];
      rows += slice.count;
      if (!slice.samples) continue;
      appended[i] = 1;
      if (++lengths[static_cast<size_t>(slice.request.value)] < kMaxLength) continue;
      scheduler.Remove(slice.request);
      add(kPrompt);
    }
    scheduler.Commit(plan, appended);
    benchmark::DoNotOptimize(plan);
  }
  state.counters["rows_per_step"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kAvgIterations);
}
BENCHMARK(BM_PlanAndCommit)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
