#include "continuous_batching/step_cost.h"

#include <algorithm>
#include <cmath>

namespace millrace {
namespace {

constexpr int32_t kMemory = 8;  // samples

Duration FromSeconds(double seconds) {
  return Duration(static_cast<int64_t>(std::llround(seconds * 1e9)));
}

}  // namespace

void StepCost::Mean::Add(double sample) {
  count = std::min(count + 1, kMemory);
  value += (sample - value) / count;
}

void StepCost::Observe(int32_t decode_rows, int32_t prefill_rows, Duration took) {
  if (took <= Duration(0) || decode_rows + prefill_rows <= 0) return;
  const double seconds = Seconds(took);
  if (prefill_rows == 0) {
    // What was taken for prefill holds the fixed part: measured again from here on.
    if (seconds_.count == 0) prefill_row_ = {};
    const double rows = decode_rows;
    rows_.Add(rows);
    seconds_.Add(seconds);
    rows_rows_.Add(rows * rows);
    rows_seconds_.Add(rows * seconds);
    return;
  }
  // While no decode step was seen the whole time counts as prefill: rather too much than too
  // little.
  const double prefill = std::max(0.0, seconds - DecodeSeconds(decode_rows));
  prefill_row_.Add(prefill / prefill_rows);
}

// Least squares; where all steps had as many rows, or time seems to fall with rows (noise), the
// mean, which is not less for fewer rows: there the prefill rows seem cheaper than they are, but
// only until the next step measures them.
double StepCost::DecodeSeconds(int32_t rows) const {
  if (seconds_.count == 0) return 0;
  const double variance = rows_rows_.value - rows_.value * rows_.value;
  if (variance < 0.01) return seconds_.value;
  const double covariance = rows_seconds_.value - rows_.value * seconds_.value;
  const double slope = std::max(0.0, covariance / variance);
  return std::max(0.0, seconds_.value + slope * (rows - rows_.value));
}

std::optional<Duration> StepCost::Decode(int32_t rows) const {
  if (seconds_.count == 0) return std::nullopt;
  return FromSeconds(DecodeSeconds(rows));
}

std::optional<Duration> StepCost::PrefillRow() const {
  if (prefill_row_.count == 0) return std::nullopt;
  return FromSeconds(prefill_row_.value);
}

void StepCost::ObserveCopies(int32_t blocks, Duration took) {
  if (blocks > 0 && took > Duration(0)) block_copy_.Add(Seconds(took) / blocks);
}

std::optional<Duration> StepCost::BlockCopy() const {
  if (block_copy_.count == 0) return std::nullopt;
  return FromSeconds(block_copy_.value);
}

int32_t StepCost::PrefillRows(int32_t decode_rows, Duration target, int32_t most) const {
  if (prefill_row_.count == 0) return std::min(kFirstPrefill, most);
  const double left = Seconds(target) - DecodeSeconds(decode_rows);
  const double rows = std::max(left, 0.0) / std::max(prefill_row_.value, 1e-12);
  const auto fits = static_cast<int32_t>(std::min(rows, double{1 << 30}));
  return std::min(std::max(fits, kLeastPrefill), most);
}

}  // namespace millrace
