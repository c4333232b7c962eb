// What it costs that the threads meet: a task without work, by the number of threads.
#include <benchmark/benchmark.h>

#include "base/thread_pool.h"

namespace millrace {
namespace {

void BM_Run(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.Run([](int thread) { benchmark::DoNotOptimize(thread); });
  }
}
BENCHMARK(BM_Run)->DenseRange(1, 4)->UseRealTime();

void BM_ParallelFor(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.ParallelFor(16, 1, [](int64_t begin, int64_t end) {
      benchmark::DoNotOptimize(begin);
      benchmark::DoNotOptimize(end);
    });
  }
}
BENCHMARK(BM_ParallelFor)->DenseRange(1, 4)->UseRealTime();

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
