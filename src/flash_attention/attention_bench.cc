// Attention of the Llama-1B shape (32 query heads, 8 KV heads, D = 64), one layer.
//   attention_bench --benchmark_filter='bf16'
// GFLOP/s counts the visible half of the scores only: 4 D flops for each (query head, query,
// visible key). GB/s counts each byte of keys and values once. `intermediate` is the scores and
// probabilities written to memory, in bytes.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/rng.h"
#include "flash_attention/attention.h"

namespace millrace {
namespace {

constexpr int32_t kHeads = 32;
constexpr KvShape kShape{.layers = 1, .kv_heads = 8, .head_dim = 64};
constexpr int64_t kWidth = int64_t{kHeads} * 64;

enum class Method { kFlash, kStandard };

KvStore MakeStore(KvType type, int32_t positions) {
  KvStore kv = KvStore::Create(kShape, type, BlocksFor(positions)).value();
  CounterRng rng(1, 1);
  std::vector<float> row(static_cast<size_t>(kShape.kv_heads * kShape.head_dim));
  for (int32_t i = 0; i < positions; ++i) {
    for (float& x : row) x = static_cast<float>(2 * rng.NextDouble() - 1);
    kv.Write(0, BlockId(i / kBlockTokens), i % kBlockTokens, row.data(), row.data());
  }
  return kv;
}

// The last `rows` queries of `length` positions.
void Measure(benchmark::State& state, Method method, Isa isa, KvType type, int32_t rows,
             int32_t length, int threads) {
  const KvStore kv = MakeStore(type, length);
  std::vector<BlockId> blocks;
  for (int32_t b = 0; b < BlocksFor(length); ++b) blocks.push_back(BlockId(b));
  std::vector<float> q(static_cast<size_t>(rows * kWidth), 0.25f), out(q.size());
  CounterRng rng(2, 2);
  for (float& x : q) x = static_cast<float>(2 * rng.NextDouble() - 1);
  const MatrixView<const float> q_view{q.data(), rows, kWidth, kWidth};
  const MatrixView<float> out_view{out.data(), rows, kWidth, kWidth};
  const AttentionRows sequence{0, rows, length - rows, blocks};
  AttentionConfig config;
  config.heads = kHeads;
  config.scale = 0.125f;
  ThreadPool pool(threads);
  int64_t written = 0;
  for (auto _ : state) {
    if (method == Method::kFlash) {
      FlashAttention(AttentionKernelsFor(isa), pool, kv, 0, config, {&sequence, 1}, q_view,
                     out_view);
    } else {
      written = StandardAttention(AttentionKernelsFor(isa), pool, kv, 0, config, {&sequence, 1},
                                  q_view, out_view);
    }
    benchmark::DoNotOptimize(out.data());
  }
  const double visible =
      static_cast<double>(rows) * (length - rows) + static_cast<double>(rows) * (rows + 1) / 2;
  const double kv_bytes =
      static_cast<double>(kv.bytes()) * length / (BlocksFor(length) * kBlockTokens);
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GFLOP/s"] = benchmark::Counter(4e-9 * 64 * kHeads * visible, rate);
  state.counters["GB/s"] = benchmark::Counter(1e-9 * kv_bytes, rate);
  state.counters["intermediate"] = static_cast<double>(written);
}

void RegisterAll() {
  for (Isa isa : SupportedIsas()) {
    if (isa == Isa::kScalar) continue;
    for (Method method : {Method::kFlash, Method::kStandard}) {
      for (KvType type : kKvTypes) {
        for (int threads : {1, 2}) {
          const auto add = [&](const char* phase, int32_t rows, int32_t length) {
            const std::string name =
                std::string(method == Method::kFlash ? "flash/" : "standard/") +
                std::string(NameOf(isa)) + "/" + std::string(NameOf(type)) + "/" + phase +
                std::to_string(length) + "/threads:" + std::to_string(threads);
            benchmark::RegisterBenchmark(name.c_str(),
                                         [=](benchmark::State& state) {
                                           Measure(state, method, isa, type, rows, length, threads);
                                         })
                ->Unit(benchmark::kMicrosecond)
                ->UseRealTime();
          };
          for (int32_t length : {512, 2048, 4096}) add("prefill:", length, length);
          for (int32_t length : {512, 4096, 65536}) add("decode:", 1, length);
        }
      }
    }
  }
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  millrace::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
