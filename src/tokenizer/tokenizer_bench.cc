// Encoding speed on prose (tinyshakespeare), one thread, merges included; needs the shared
// vocabularies. bytes_per_second is the figure.
#include <benchmark/benchmark.h>

#include <fstream>
#include <string>

#include "gguf/gguf.h"
#include "tests/test_paths.h"
#include "tokenizer/tokenizer.h"

namespace millrace {
namespace {

const std::string kShared = SharedDir();

std::string ReadProse() {
  std::ifstream in(kShared + "/data/tinyshakespeare.txt", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<Tokenizer> Load(const std::string& name) {
  ASSIGN_OR_RETURN(const MappedGguf mapped,
                   MappedGguf::Open(kShared + "/fixtures/tokenizers/" + name + ".gguf"));
  return Tokenizer::FromGguf(mapped.file());
}

void BM_EncodeProse(benchmark::State& state, const std::string& name) {
  const std::string prose = ReadProse();
  const auto tokenizer = Load(name);
  if (prose.empty() || !tokenizer.ok()) {
    state.SkipWithError("the shared fixtures are absent");
    return;
  }
  size_t tokens = 0;
  for (auto _ : state) tokens = tokenizer->Encode(prose, SpecialTokens::kParse).size();
  state.SetBytesProcessed(static_cast<int64_t>(prose.size()) * state.iterations());
  state.counters["tokens"] = static_cast<double>(tokens);
}

// In pieces of 256 bytes: too short for the word cache, so every word is merged.
void BM_EncodeShortTexts(benchmark::State& state, const std::string& name) {
  const std::string prose = ReadProse();
  const auto tokenizer = Load(name);
  if (prose.empty() || !tokenizer.ok()) {
    state.SkipWithError("the shared fixtures are absent");
    return;
  }
  for (auto _ : state) {
    for (size_t at = 0; at < prose.size(); at += 256) {
      benchmark::DoNotOptimize(
          tokenizer->Encode(std::string_view(prose).substr(at, 256), SpecialTokens::kParse));
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(prose.size()) * state.iterations());
}

void BM_Load(benchmark::State& state, const std::string& name) {
  for (auto _ : state) {
    const auto tokenizer = Load(name);
    if (!tokenizer.ok()) {
      state.SkipWithError("the shared fixtures are absent");
      return;
    }
  }
}

void RegisterAll() {
  for (const char* name : {"qwen2", "llama-bpe", "gpt-2", "llama-spm"}) {
    const auto add = [&](const char* what, void (*run)(benchmark::State&, const std::string&)) {
      const std::string title = std::string(what) + "/" + name;
      benchmark::RegisterBenchmark(title.c_str(), [run, name](benchmark::State& state) {
        run(state, name);
      })->Unit(benchmark::kMillisecond);
    };
    add("EncodeProse", BM_EncodeProse);
    add("EncodeShortTexts", BM_EncodeShortTexts);
    add("Load", BM_Load);
  }
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  millrace::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
