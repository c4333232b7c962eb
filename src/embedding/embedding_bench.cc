// Tokens a second of encoders of well-known shapes, with random weights: texts of one length, as
// many as fill a batch.
#include <benchmark/benchmark.h>

#include <thread>

#include "embedding/embedding_model.h"
#include "gguf/gguf.h"
#include "tests/tiny_encoder.h"

namespace millrace {
namespace {

TinyEncoderSpec ShapeOf(bool base, DType type) {
  TinyEncoderSpec spec;
  spec.type = type;
  spec.layers = base ? 12 : 6;  // BERT base (BGE, E5) and MiniLM-L6
  spec.width = base ? 768 : 384;
  spec.ff_width = 4 * spec.width;
  spec.heads = 12;
  spec.context_length = 512;
  return spec;
}

void Embed(benchmark::State& state, bool base, DType type) {
  const auto length = static_cast<size_t>(state.range(0));
  const std::vector<std::byte> bytes = MakeTinyEncoder(ShapeOf(base, type));
  const GgufFile file = ParseGguf(bytes, "bench.gguf").value();
  ThreadPool pool(static_cast<int>(std::thread::hardware_concurrency()));
  EmbeddingOptions options;
  options.isa = DetectIsa();
  const auto model = std::move(EmbeddingModel::Load(file, options, pool)).value();
  const auto count = static_cast<size_t>(state.range(1));
  EmbeddingText text;
  for (size_t i = 0; i < length; ++i) text.tokens.push_back(TokenId(static_cast<int>(i % 50)));
  const std::vector<const EmbeddingText*> texts(count, &text);
  std::vector<float> out(count * static_cast<size_t>(model->outputs()));
  for (auto _ : state) {
    model->Compute(texts, out);
    benchmark::DoNotOptimize(out.data());
  }
  const auto tokens = static_cast<double>(state.iterations()) * static_cast<double>(length * count);
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}

#define MILLRACE_EMBED(name, base, type)     \
  BENCHMARK_CAPTURE(Embed, name, base, type) \
      ->ArgNames({"tokens", "texts"})        \
      ->Args({16, 1})                        \
      ->Args({16, 64})                       \
      ->Args({128, 1})                       \
      ->Args({128, 8})                       \
      ->Args({512, 1})                       \
      ->Unit(benchmark::kMillisecond)        \
      ->UseRealTime()

MILLRACE_EMBED(minilm_f16, false, DType::kF16);
MILLRACE_EMBED(minilm_q8_0, false, DType::kQ8_0);
MILLRACE_EMBED(base_f16, true, DType::kF16);
MILLRACE_EMBED(base_q8_0, true, DType::kQ8_0);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
