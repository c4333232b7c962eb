// Speed of the products: MatMul/<type>/N:<outputs>/K:<inputs>/M:<rows>/T:<threads>, best of several
// runs with --benchmark_repetitions. GMAC/s, and int8_peak, the fraction of what the dot product of
// bytes reaches on registers; GB/s of packed weights, and bandwidth, the fraction of what reading
// memory reaches (up to 16 rows, whose weights come from memory). Both limits are measured at the
// start by as many threads.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "quantization/machine_speed.h"
#include "quantization/matmul.h"
#include "quantization/test_support.h"

namespace millrace {
namespace {

using benchmark::Counter;

// Enough copies that the weights come from memory, as they do while decoding.
constexpr int64_t kColdBytes = int64_t{256} << 20;
constexpr int64_t kMostColdRows = 16;

std::vector<WeightMatrix> Copies(DType type, int64_t n, int64_t k, bool cold) {
  ThreadPool pool(1);
  const auto source = type == DType::kF32 || type == DType::kF16 || type == DType::kBF16
                          ? RandomWeights(type, n, k, 1)
                          : RandomBlocks(type, n, k, 1);
  const int64_t copies = cold ? kColdBytes / static_cast<int64_t>(source.size()) + 1 : 1;
  std::vector<WeightMatrix> weights;
  for (int64_t i = 0; i < copies; ++i) {
    auto packed = WeightMatrix::Pack(type, n, k, source, pool);
    CHECK(packed.ok());
    weights.push_back(std::move(*packed));
  }
  return weights;
}

// What this machine can do with that many threads.
struct Limits {
  double bytes_per_second = 0;
  double int8_per_second = 0;  // multiply-adds; 0 where unknown
};

Limits MeasureLimits(int threads) {
  ThreadPool pool(threads);
  return {MeasureReadBandwidth(pool), MeasureInt8Peak(DetectIsa(), pool)};
}

void BM_MatMul(benchmark::State& state, DType type, int64_t n, int64_t k, const Limits limits[2]) {
  const int64_t m = state.range(0);
  ThreadPool pool(static_cast<int>(state.range(1)));
  const MatMulKernels& kernels = MatMulKernelsFor(DetectIsa());
  const auto weights = Copies(type, n, k, m <= kMostColdRows);
  const auto x = RandomFloats(m * k, 2);
  std::vector<float> y(static_cast<size_t>(m * n));
  Activations activations;
  activations.Assign(kernels, pool, {x.data(), m, k, k});
  size_t next = 0;
  for (auto _ : state) {
    MatMul(kernels, pool, weights[next], activations, {y.data(), m, n, n});
    next = (next + 1) % weights.size();
    benchmark::ClobberMemory();
  }
  const double runs = static_cast<double>(state.iterations());
  const double products = runs * static_cast<double>(m * n * k);
  const double bytes = runs * static_cast<double>(weights[0].bytes());
  const Limits& most = limits[state.range(1) - 1];
  state.counters["GMAC/s"] = Counter(products * 1e-9, Counter::kIsRate);
  state.counters["GB/s"] = Counter(bytes * 1e-9, Counter::kIsRate);
  if (most.int8_per_second > 0) {
    state.counters["int8_peak"] = Counter(products / most.int8_per_second, Counter::kIsRate);
  }
  if (m <= kMostColdRows) {
    state.counters["bandwidth"] = Counter(bytes / most.bytes_per_second, Counter::kIsRate);
  }
}

void BM_Assign(benchmark::State& state) {
  const int64_t m = state.range(0), k = 2048;
  ThreadPool pool(1);
  const MatMulKernels& kernels = MatMulKernelsFor(DetectIsa());
  const auto x = RandomFloats(m * k, 2);
  Activations activations;
  for (auto _ : state) {
    activations.Assign(kernels, pool, {x.data(), m, k, k});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * m * k);
}

void BM_Pack(benchmark::State& state, DType type) {
  const int64_t n = 2048, k = 2048;
  ThreadPool pool(static_cast<int>(state.range(0)));
  const auto source = RandomBlocks(type, n, k, 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(WeightMatrix::Pack(type, n, k, source, pool));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(source.size()));
}

void RegisterAll(const Limits limits[2]) {
  for (DType type : WeightMatrix::SupportedTypes()) {
    for (int64_t n : {2048, 8192}) {
      auto* b = benchmark::RegisterBenchmark(
          ("MatMul/" + std::string(NameOf(type)) + "/N:" + std::to_string(n) + "/K:2048").c_str(),
          BM_MatMul, type, n, int64_t{2048}, limits);
      b->ArgNames({"M", "T"})->UseRealTime()->Unit(benchmark::kMicrosecond);
      for (int64_t m : {1, 2, 4, 8, 16, 32, 128, 512}) {
        for (int64_t t : {1, 2}) b->Args({m, t});
      }
    }
  }
  for (DType type : {DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    benchmark::RegisterBenchmark(("Pack/" + std::string(NameOf(type))).c_str(), BM_Pack, type)
        ->ArgName("T")
        ->Arg(1)
        ->UseRealTime();
  }
  benchmark::RegisterBenchmark("Assign/K:2048", BM_Assign)->ArgName("M")->Arg(1)->Arg(128);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const millrace::Limits limits[2] = {millrace::MeasureLimits(1), millrace::MeasureLimits(2)};
  millrace::RegisterAll(limits);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
