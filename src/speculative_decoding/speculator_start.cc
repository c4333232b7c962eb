// What steps take, measured before the first request.
#include <algorithm>
#include <optional>

#include "base/check.h"
#include "speculative_decoding/speculator.h"

namespace millrace {
namespace {

// Of each of the two models. A large one gets fewer sizes measured; those between are interpolated.
constexpr Duration kBudget = std::chrono::milliseconds(600);
constexpr int kRounds = 3;  // the quickest counts: what else the machine did is no part of it
constexpr int kLeastRounds = 2;
constexpr int32_t kDepthRows = 8;

// The most telling first.
constexpr int32_t kOrder[] = {1, 4, 8, 2, 16, 12, 6, 3, 5, 9, 7, 32, 24, 20, 64, 48, 128, 256};

class Stopwatch {
 public:
  Stopwatch(Model& model, KvStore& kv, std::span<const BlockId> table, const Clock& clock)
      : model_(model), kv_(kv), table_(table), clock_(clock), end_(clock.Now() + kBudget) {}

  bool time_is_up() const { return clock_.Now() >= end_; }
  int32_t positions() const { return static_cast<int32_t>(table_.size()) * kBlockTokens; }

  double Time(int32_t rows, int32_t depth) {
    const std::vector<TokenId> tokens(static_cast<size_t>(rows), TokenId(0));
    const Batch batch = {
        {{.tokens = tokens, .first_position = depth, .block_table = table_, .logit_rows = rows}}};
    Duration quickest = Duration::max();
    for (int round = 0; round < kRounds && (round < kLeastRounds || !time_is_up()); ++round) {
      const TimePoint start = clock_.Now();
      model_.Forward(batch, kv_);
      quickest = std::min(quickest, clock_.Now() - start);
    }
    return Seconds(quickest);
  }

 private:
  Model& model_;
  KvStore& kv_;
  std::span<const BlockId> table_;
  const Clock& clock_;
  TimePoint end_;
};

void Measure(Model& model, KvStore& kv, std::span<const BlockId> scratch, int32_t context,
             const Clock& clock, StepTimes& times) {
  // Memory that was never touched would be cleared by the system while the clock runs.
  for (const BlockId block : scratch) std::ranges::fill(kv.BlockData(block), std::byte{0});
  Stopwatch watch(model, kv, scratch, clock);
  const int32_t most = std::min(watch.positions(), context);
  std::optional<double> one, some;
  watch.Time(1, 0);  // wakes the threads, touches the weights
  for (const int32_t rows : kOrder) {
    if (rows > most || (one && watch.time_is_up())) break;
    const double seconds = watch.Time(rows, 0);
    times.SetBase(rows, seconds);
    if (rows == 1) one = seconds;
    if (rows != kDepthRows) continue;
    some = seconds;
    const int32_t depth = std::min(most, 1024) - kDepthRows;
    if (depth < 256) continue;
    const double deep = depth;
    const double first = (watch.Time(1, depth) - *one) / deep;
    const double further = (watch.Time(kDepthRows, depth) - *some) / deep - first;
    times.SetDepth(first, further / (kDepthRows - 1));
  }
}

}  // namespace

void Speculator::MeasureAtStart(Model& target, KvStore& kv, std::span<const BlockId> scratch,
                                const Clock& clock) {
  if (!active() || scratch.empty()) return;
  Measure(target, kv, scratch, 1 << 30, clock, times_);
  if (!model_) return;
  Measure(model_->model(), model_->kv(), scratch, model_->context_length(), clock, draft_times_);
}

}  // namespace millrace
