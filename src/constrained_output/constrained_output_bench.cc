// What constraints cost: compiling, and per token of an answer the mask and its taking, over the
// demo model's vocabulary and, where the shared fixtures are, one of 151,936 tokens. Answers are
// random walks along the masks, so every token is one that the grammar allows. "warm": states met
// before by the same grammar, as from the second answer on; "cold": none.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "constrained_output/output_grammar.h"
#include "tests/model_vocabulary.h"
#include "tests/test_paths.h"

namespace millrace {
namespace {

constexpr char kSchema[] = R"({"type": "object", "properties": {
  "name": {"type": "string"}, "email": {"type": "string", "format": "email"},
  "age": {"type": "integer", "minimum": 0, "maximum": 150},
  "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 8},
  "address": {"type": "object", "properties": {"street": {"type": "string"},
     "city": {"type": "string", "maxLength": 40}, "kind": {"enum": ["home", "work", "other"]}},
     "required": ["street", "city", "kind"], "additionalProperties": false}},
  "required": ["name", "email", "age", "tags", "address"], "additionalProperties": false})";

std::string FileOf(const std::string& name) {
  return name == "demo" ? SourceDir() + "/models/evidence-target.gguf"
                        : SharedDir() + "/fixtures/tokenizers/" + name + ".gguf";
}

// A token that the mask allows: most often one of the first found, rarely an end.
TokenId Choose(const TokenMask& mask, CounterRng& rng) {
  const auto words = mask.words();
  const size_t start = rng.NextU64() % words.size();
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t at = (start + i) % words.size();
    if (words[at] != 0) {
      return TokenId(static_cast<int32_t>(at * 64) + __builtin_ctzll(words[at]));
    }
  }
  return TokenId(-1);
}

int64_t Answer(OutputMatcher matcher, uint64_t seed, int64_t most) {
  CounterRng rng(seed, 0);
  int64_t tokens = 0;
  while (tokens < most && !matcher.IsFinished()) {
    const auto mask = matcher.Mask();
    if (!mask.ok() || !matcher.Take(Choose(**mask, rng))) break;
    ++tokens;
  }
  return tokens;
}

void Tokens(benchmark::State& state, const std::string& vocabulary, const std::string& text,
            OutputGrammar::Compiled (*compile)(std::string_view, OutputGrammar::Vocabulary),
            bool warm) {
  const auto tokens = LoadVocabulary(FileOf(vocabulary));
  if (!tokens) return state.SkipWithError("the vocabulary's file is absent");
  constexpr int64_t kMost = 200;
  auto grammar = compile(text, tokens);
  uint64_t seed = 1;
  if (warm) Answer(OutputMatcher(*grammar), seed, kMost);
  int64_t total = 0;
  for (auto _ : state) {
    if (!warm) {
      state.PauseTiming();
      grammar = compile(text, tokens);
      ++seed;
      state.ResumeTiming();
    }
    total += Answer(OutputMatcher(*grammar), seed, kMost);
  }
  state.counters["us_per_token"] = benchmark::Counter(
      1e-6 * static_cast<double>(total), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["tokens"] = static_cast<double>(total) / static_cast<double>(state.iterations());
}

void BM_Schema(benchmark::State& state, const std::string& vocabulary, bool warm) {
  Tokens(state, vocabulary, kSchema, OutputGrammar::FromJsonSchema, warm);
}
void BM_AnyJson(benchmark::State& state, const std::string& vocabulary, bool warm) {
  Tokens(state, vocabulary, R"({"type": "object"})", OutputGrammar::FromJsonSchema, warm);
}
void BM_CountedString(benchmark::State& state, const std::string& vocabulary, bool warm) {
  Tokens(state, vocabulary, R"({"type": "string", "maxLength": 2000})",
         OutputGrammar::FromJsonSchema, warm);
}
void BM_Regex(benchmark::State& state, const std::string& vocabulary, bool warm) {
  Tokens(state, vocabulary, "([A-Z][a-z]+ ?)+[.!?]", OutputGrammar::FromRegex, warm);
}

// Found by fuzzing: thousands of places of the pattern at once, behind every byte. (Over the large
// vocabulary its first mask is refused.)
void BM_Ambiguous(benchmark::State& state, const std::string& vocabulary, bool warm) {
  const auto nothing = [](size_t times) { return std::string(times, '|'); };
  Tokens(state, vocabulary,
         "(.z\\*whhhhhhhdh\"$ref\":hhhhhhhhh" + nothing(39) + "." + nothing(88) +
             "hhhhhhhhhhhhhhhhhhh+[eumbev\"!,;]){165}[^\"bolean6]*|.$",
         OutputGrammar::FromRegex, warm);
}

void BM_Compile(benchmark::State& state, const std::string& vocabulary) {
  const auto tokens = LoadVocabulary(FileOf(vocabulary));
  if (!tokens) return state.SkipWithError("the vocabulary's file is absent");
  for (auto _ : state) {
    benchmark::DoNotOptimize(OutputGrammar::FromJsonSchema(kSchema, tokens));
  }
}

#define MILLRACE_BOTH(name)                                                          \
  BENCHMARK_CAPTURE(name, demo_warm, "demo", true)->Unit(benchmark::kMillisecond);   \
  BENCHMARK_CAPTURE(name, demo_cold, "demo", false)->Unit(benchmark::kMillisecond);  \
  BENCHMARK_CAPTURE(name, qwen2_warm, "qwen2", true)->Unit(benchmark::kMillisecond); \
  BENCHMARK_CAPTURE(name, qwen2_cold, "qwen2", false)->Unit(benchmark::kMillisecond)->Iterations(5)
MILLRACE_BOTH(BM_Schema);
MILLRACE_BOTH(BM_AnyJson);
MILLRACE_BOTH(BM_CountedString);
MILLRACE_BOTH(BM_Regex);
BENCHMARK_CAPTURE(BM_Ambiguous, demo_warm, "demo", true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Ambiguous, demo_cold, "demo", false)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5);
BENCHMARK_CAPTURE(BM_Compile, demo, "demo")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Compile, qwen2, "qwen2")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
