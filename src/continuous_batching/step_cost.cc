#include "continuous_batching/step_cost.h"

#include <algorithm>
#include <cmath>

namespace millrace {
namespace {

constexpr int32_t kMemory = 8;          // samples
constexpr int32_t kPrefillMemory = 64;  // of the line, which needs short and long chunks

Duration FromSeconds(double seconds) {
  return Duration(static_cast<int64_t>(std::llround(seconds * 1e9)));
}

}  // namespace

void StepCost::Mean::Add(double sample, int32_t memory) {
  count = std::min(count + 1, memory);
  value += (sample - value) / count;
}

void StepCost::Line::Add(double row_count, double took, int32_t memory) {
  rows.Add(row_count, memory);
  seconds.Add(took, memory);
  rows_rows.Add(row_count * row_count, memory);
  rows_seconds.Add(row_count * took, memory);
}

std::optional<double> StepCost::Line::Slope() const {
  const double variance = rows_rows.value - rows.value * rows.value;
  if (seconds.count == 0 || variance < 0.01) return std::nullopt;
  return std::max(0.0, (rows_seconds.value - rows.value * seconds.value) / variance);
}

void StepCost::Observe(int32_t decode_rows, int32_t prefill_rows, Duration took) {
  if (took <= Duration(0) || decode_rows + prefill_rows <= 0) return;
  const double seconds = Seconds(took);
  if (prefill_rows == 0) {
    if (decode_.seconds.count == 0) TakeFromPrefill(seconds);
    decode_.Add(decode_rows, seconds, kMemory);
    return;
  }
  // While no decode step was seen the whole time counts as prefill: rather too much than too
  // little.
  const double prefill = std::max(0.0, seconds - DecodeSeconds(decode_rows));
  prefill_.Add(prefill_rows, prefill, kPrefillMemory);
  prefill_row_.Add(prefill / prefill_rows, kMemory);
}

// What was taken for prefill before any decode step was seen holds the fixed part, too. The line is
// kept without it; what bounds the next steps is measured again, because too little would make them
// too long.
void StepCost::TakeFromPrefill(double fixed) {
  prefill_row_ = {};
  if (prefill_.seconds.value <= fixed) {  // nothing is left
    prefill_ = {};
    return;
  }
  prefill_.seconds.value -= fixed;
  prefill_.rows_seconds.value -= fixed * prefill_.rows.value;
}

// Where all steps had as many rows, or time seems to fall with rows (noise), the mean, which is not
// less for fewer rows: there the prefill rows seem cheaper than they are, but only until the next
// step measures them.
double StepCost::DecodeSeconds(int32_t rows) const {
  if (decode_.seconds.count == 0) return 0;
  const double slope = decode_.Slope().value_or(0);
  return std::max(0.0, decode_.seconds.value + slope * (rows - decode_.rows.value));
}

std::optional<Duration> StepCost::Decode(int32_t rows) const {
  if (decode_.seconds.count == 0) return std::nullopt;
  return FromSeconds(DecodeSeconds(rows));
}

// The line may not cut the axis below 0: then, and where all chunks were alike, rows cost alike.
std::optional<Duration> StepCost::Prefill(int32_t rows) const {
  if (prefill_.seconds.count == 0) return std::nullopt;
  const double each = prefill_.seconds.value / prefill_.rows.value;
  const double slope = std::min(each, prefill_.Slope().value_or(each));
  return FromSeconds(std::max(0.0, prefill_.seconds.value + slope * (rows - prefill_.rows.value)));
}

std::optional<Duration> StepCost::PrefillRow() const {
  if (prefill_row_.count == 0) return std::nullopt;
  return FromSeconds(prefill_row_.value);
}

void StepCost::ObserveCopies(int32_t blocks, Duration took) {
  if (blocks > 0 && took > Duration(0)) block_copy_.Add(Seconds(took) / blocks, kMemory);
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
