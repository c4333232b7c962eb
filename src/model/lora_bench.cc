// What adapters add to a decode step: a model of Llama 1B's shape with random weights, `rows`
// sequences that decode one token each, under no adapter, all under one, or under several;
// rank 16, all linear layers, F16. MiB: of the adapters in memory.
#include <benchmark/benchmark.h>

#include <memory>
#include <thread>
#include <vector>

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "model/random_model.h"
#include "model/transformer.h"
#include "tests/tiny_adapter.h"

namespace millrace {
namespace {

constexpr int32_t kMostAdapters = 16;
constexpr int32_t kDepth = 128;  // tokens before the one that is decoded

struct BenchMachine {
  ThreadPool pool{std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
  std::unique_ptr<Transformer> model;
  std::unique_ptr<KvStore> kv;
};

BenchMachine& Machine() {
  static BenchMachine* machine = [] {
    auto* m = new BenchMachine;
    const ModelShape* shape = FindShape("llama-1b").value();
    const TypeMix mix = ParseTypeMix("Q4_K_M").value();
    GgufWriter writer;
    AddRandomModel(*shape, mix, 1, writer);
    const std::vector<std::byte> bytes = writer.Serialize();
    const GgufFile file = ParseGguf(bytes, "llama-1b").value();
    TransformerOptions options;
    options.isa = DetectIsa();
    options.max_positions = kDepth + 1;
    m->model = Transformer::Load(file, options, m->pool).value();
    // The same numbers, in memory of their own.
    const auto adapter =
        MakeTinyAdapter(file, {.rank = 16, .alpha = 16, .type = DType::kF16, .spread = 0.01});
    for (int32_t i = 0; i < kMostAdapters; ++i) {
      const Status added = m->model->AddAdapter({std::to_string(i), std::to_string(i)},
                                                ParseGguf(adapter, "adapter").value(), 1.0f);
      CHECK(added.ok());
    }
    m->kv = std::make_unique<KvStore>(
        KvStore::Create(m->model->info().kv_shape, KvType::kBf16, 16 * BlocksFor(kDepth + 1))
            .value());
    return m;
  }();
  return *machine;
}

// `adapters`: how many different ones the rows use in turn; 0: none.
void Decode(benchmark::State& state) {
  BenchMachine& machine = Machine();
  const auto rows = static_cast<int32_t>(state.range(0));
  const auto adapters = static_cast<int32_t>(state.range(1));
  const std::vector<TokenId> token = {TokenId(7)};
  std::vector<std::vector<BlockId>> tables;
  Batch batch;
  for (int32_t i = 0; i < rows; ++i) {
    auto& table = tables.emplace_back();
    for (int32_t b = 0; b < BlocksFor(kDepth + 1); ++b)
      table.push_back(BlockId(i * BlocksFor(kDepth + 1) + b));
    const auto adapter = adapters == 0 ? std::nullopt : std::optional(AdapterId(i % adapters));
    batch.sequences.push_back({.tokens = token,
                               .first_position = kDepth,
                               .block_table = {},
                               .logit_rows = 1,
                               .adapter = adapter});
  }
  for (size_t i = 0; i < tables.size(); ++i) batch.sequences[i].block_table = tables[i];
  for (auto _ : state) {
    benchmark::DoNotOptimize(machine.model->Forward(batch, *machine.kv).data);
  }
  const auto& infos = machine.model->info().adapters;
  state.counters["MiB"] =
      static_cast<double>(infos[0].bytes) * adapters / static_cast<double>(1 << 20);
}

BENCHMARK(Decode)
    ->ArgNames({"rows", "adapters"})
    ->ArgsProduct({{1, 4, 16}, {0, 1}})
    ->Args({4, 4})
    ->Args({16, 4})
    ->Args({16, 16})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
