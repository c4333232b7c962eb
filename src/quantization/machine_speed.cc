#include "quantization/machine_speed.h"

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "base/clock.h"
#include "quantization/matmul.h"
#include "quantization/matmul_kernels.h"
#include "quantization/page_buffer.h"

namespace millrace {
namespace {

constexpr int kSweeps = 5;

// The most `amount` per second that `body` reached.
template <class Body>
double BestRate(double amount, Body&& body) {
  const Clock clock;
  double best = 0;
  for (int i = 0; i < kSweeps; ++i) {
    const TimePoint start = clock.Now();
    body();
    best = std::max(best, amount / Seconds(clock.Now() - start));
  }
  return best;
}

}  // namespace

double MeasureReadBandwidth(ThreadPool& pool) {
  constexpr int64_t kWords = (int64_t{512} << 20) / 8;
  PageBuffer memory(static_cast<size_t>(kWords) * 8);
  auto* words = reinterpret_cast<uint64_t*>(memory.data());
  constexpr int64_t kGrain = 1 << 17;
  // Pages that were never written are all the same one: write them first.
  pool.ParallelFor(kWords, kGrain,
                   [&](int64_t first, int64_t last) { std::fill(words + first, words + last, 1); });
  std::atomic<uint64_t> total{0};
  const double rate = BestRate(kWords * 8.0, [&] {
    pool.ParallelFor(kWords, kGrain, [&](int64_t first, int64_t last) {
      uint64_t sum[16] = {};
      for (int64_t i = first; i < last; i += 16) {
        for (int64_t j = 0; j < 16; ++j) sum[j] += words[i + j];
      }
      for (const uint64_t s : sum) total.fetch_add(s, std::memory_order_relaxed);
    });
  });
  return total.load() == 0 ? 0 : rate;
}

double MeasureInt8Peak(Isa isa, ThreadPool& pool) {
  const Int8PeakKernel kernel = MatMulKernelsFor(isa).int8_peak;
  if (kernel == nullptr) return 0;
  constexpr int64_t kSteps = 2'000'000;
  const double each = static_cast<double>(kernel(1)) * static_cast<double>(kSteps);
  return BestRate(each * pool.threads(), [&] { pool.Run([&](int) { kernel(kSteps); }); });
}

}  // namespace millrace
