// PlanStep + Commit with a full batch: what the scheduler adds to a step, without any model. Beside
// a real step: tests/scenarios/bookkeeping.cc.
#include <benchmark/benchmark.h>

#include "continuous_batching/scheduler_load.h"

namespace millrace {
namespace {

void BM_PlanAndCommit(benchmark::State& state) {
  SchedulerLoad load(static_cast<int32_t>(state.range(0)), 0);
  int64_t rows = 0;
  for (auto _ : state) rows += load.Step();
  state.counters["rows_per_step"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kAvgIterations);
}
BENCHMARK(BM_PlanAndCommit)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

void BM_PlanAndCommitWithPrefixTree(benchmark::State& state) {
  SchedulerLoad load(static_cast<int32_t>(state.range(0)), 100'000);
  for (auto _ : state) load.Step();
  state.counters["cached_blocks"] = static_cast<double>(load.cached_blocks());
}
BENCHMARK(BM_PlanAndCommitWithPrefixTree)->Arg(16)->Arg(256)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
