// One Sample over a vocabulary of Qwen's size, with logits spread as a model's are.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "sampling/sampler.h"

namespace millrace {
namespace {

constexpr int32_t kVocab = 151'936;

// Roughly normal with deviation 3: a few candidates stand out, the rest is a wide tail.
std::vector<float> Logits() {
  std::vector<float> logits(kVocab);
  CounterRng rng(1, 1);
  for (float& logit : logits) {
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += rng.NextDouble();
    logit = static_cast<float>(3.0 * sum);
  }
  return logits;
}

void BM_Sample(benchmark::State& state, const SamplingParams& params) {
  const auto logits = Logits();
  Sampler sampler(params, kVocab);
  for (int i = 0; i < 500; ++i) sampler.Observe(TokenId(i * 17));
  int64_t position = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sampler.Sample(logits, position++));
}
BENCHMARK_CAPTURE(BM_Sample, greedy, {.temperature = 0.0f})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, greedy_penalties, {.temperature = 0.0f, .frequency_penalty = 0.5f})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, greedy_logprobs, {.temperature = 0.0f, .top_logprobs = 5})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, temperature, {.temperature = 0.8f})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, top_k_40, {.temperature = 0.8f, .top_k = 40})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, top_k_40_top_p, {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_Sample, top_p, {.temperature = 0.8f, .top_p = 0.95f})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
