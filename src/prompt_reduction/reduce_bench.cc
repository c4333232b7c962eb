// What reduction costs and what it keeps.
//
// BM_Reduce/N: N passages of about 480 bytes, without models; the goal is under 3 ms for 100.
// BM_NqOpen: coverage and tokens on the shared questions for settings of the cut; `chosen` on the
// even questions, `told` on the odd ones.
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include "prompt_reduction/nq_open_test_data.h"
#include "prompt_reduction/reduce.h"
#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

// Words by Zipf's law, so that their frequencies are like a text's.
class Texts {
 public:
  std::string Of(size_t bytes) {
    std::string text;
    while (text.size() < bytes) {
      const double u = std::uniform_real_distribution<double>(0, 1)(random_);
      const auto rank = static_cast<uint64_t>(std::exp(u * std::log(20000.0)));
      text += Word(rank);
      text += random_() % 12 == 0 ? ". " : " ";
    }
    return text;
  }

 private:
  static std::string Word(uint64_t rank) {
    std::string word;
    for (uint64_t hash = Hash(rank), i = 0, length = 2 + hash % 8; i < length; ++i, hash /= 17)
      word += static_cast<char>('a' + hash % 26);
    return word;
  }
  static uint64_t Hash(uint64_t rank) { return (rank + 1) * 0x9e3779b97f4a7c15u ^ (rank << 7); }

  std::mt19937_64 random_{7};
};

void BM_Reduce(benchmark::State& state) {
  Texts texts;
  std::vector<Passage> passages;
  for (int64_t i = 0; i < state.range(0); ++i) {
    passages.push_back({.id = std::to_string(i), .title = texts.Of(20), .text = texts.Of(480)});
  }
  const std::string question = texts.Of(60);
  size_t kept = 0;
  for (auto _ : state) {
    const auto reduced = ReducePrompt(question, passages, {}, [](std::string_view text) {
      return static_cast<int64_t>(text.size() / 4);
    });
    kept = reduced->kept.size();
    benchmark::DoNotOptimize(kept);
  }
  state.counters["kept"] = static_cast<double>(kept);
}
BENCHMARK(BM_Reduce)->Arg(10)->Arg(100)->Arg(1000)->Unit(benchmark::kMillisecond);

void BM_Chunk(benchmark::State& state) {
  const std::string text = Texts().Of(1 << 20);
  for (auto _ : state) benchmark::DoNotOptimize(ChunkAtSentences(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(BM_Chunk)->Unit(benchmark::kMillisecond);

// One document of so many MiB, cut and ranked.
void BM_Document(benchmark::State& state) {
  Texts texts;
  const std::vector<Passage> documents = {
      {.id = "d", .title = "", .text = texts.Of(static_cast<size_t>(state.range(0)) << 20)}};
  const std::string question = texts.Of(60);
  size_t passages = 0;
  for (auto _ : state) {
    passages = ReducePrompt(question, documents, {}, [](std::string_view text) {
                 return static_cast<int64_t>(text.size() / 4);
               })->passages();
  }
  state.counters["passages"] = static_cast<double>(passages);
}
BENCHMARK(BM_Document)->Arg(1)->Arg(100)->Unit(benchmark::kMillisecond);

// Ratio in hundredths, least, most.
void BM_NqOpen(benchmark::State& state) {
  static const auto data = LoadNqOpen();
  if (!data) return state.SkipWithError("needs ../shared/data/nq-open-oracle.jsonl.gz");
  ReductionConfig config;
  if (state.range(0) == 0) config.mode = ReductionMode::kTop;
  config.ratio = static_cast<double>(state.range(0)) / 100;
  config.least = static_cast<size_t>(state.range(1));
  config.most = static_cast<size_t>(state.range(2));
  static NqJudge judge(*data);
  NqScore chosen, told;
  for (auto _ : state) {
    chosen = judge.Score(config, 0, 2);
    told = judge.Score(config, 1, 2);
  }
  state.counters["chosen_coverage"] = chosen.coverage;
  state.counters["chosen_tokens"] = chosen.tokens;
  state.counters["told_coverage"] = told.coverage;
  state.counters["told_tokens"] = told.tokens;
}
BENCHMARK(BM_NqOpen)
    ->ArgsProduct({{50, 55, 60, 65, 70, 75}, {1, 2, 3}, {10}})
    ->ArgsProduct({{0}, {1}, {1, 2, 3, 5, 10, 20}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
