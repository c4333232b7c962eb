// What the timeline costs a step: the engine on a model that costs nothing, with it and without.
#include <benchmark/benchmark.h>

#include "engine/engine.h"
#include "engine/fake_model.h"

namespace millrace {
namespace {

// Sequences that decode for ever, `waiting` more behind them.
void Run(benchmark::State& state, size_t timeline_steps) {
  const auto running = static_cast<int32_t>(state.range(0));
  constexpr int32_t kWaiting = 200;
  EngineConfig config;
  config.context_length = 1 << 16;
  config.max_queued_requests = 1000;
  config.scheduler.max_running = running;
  config.scheduler.max_step_tokens = 1024;
  config.prefix_cache = false;
  config.timeline_steps = timeline_steps;
  auto kv = KvStore::Create(FakeModel::Shape(), KvType::kF32, running * 2048);
  CHECK(kv.ok());
  Engine engine(config, std::make_unique<FakeModel>(64), std::move(kv).value());
  for (int32_t i = 0; i < running + kWaiting; ++i) {
    Request request;
    request.prompt = {TokenId(i % 64)};
    request.max_tokens = 1 << 15;
    request.sampling.temperature = 0;
    CHECK(engine.Submit(std::move(request), {}).ok());
  }
  engine.Step();
  for (auto _ : state) engine.Step();
}

void BM_StepWithoutTimeline(benchmark::State& state) { Run(state, 0); }
void BM_StepWithTimeline(benchmark::State& state) { Run(state, 1024); }
// The fake model reads every position back, so all run equally many steps.
BENCHMARK(BM_StepWithoutTimeline)->Arg(8)->Arg(64)->Iterations(300);
BENCHMARK(BM_StepWithTimeline)->Arg(8)->Arg(64)->Iterations(300);

// What is added to a step: the parts, put into the ring.
void BM_Add(benchmark::State& state) {
  Timeline timeline(1024);
  TimelineStep step;
  step.parts.resize(static_cast<size_t>(state.range(0)));
  for (auto _ : state) timeline.Add(step);
}
BENCHMARK(BM_Add)->Arg(8)->Arg(64)->Arg(256);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
