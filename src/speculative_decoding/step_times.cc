#include "speculative_decoding/step_times.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace millrace {
namespace {

// How much of a step's deviation is taken over: by all alike, and by the knots beside it.
constexpr double kLoadRate = 0.05;
constexpr double kKnotRate = 0.10;
// A deviation counts up to these factors: what disturbs a machine makes steps longer.
constexpr double kMostLonger = 1.25, kMostShorter = 1.5;

double Bounded(double ratio) { return std::clamp(ratio, 1 / kMostShorter, kMostLonger); }

}  // namespace

StepTimes::Place StepTimes::PlaceOf(int32_t rows) {
  const auto at = std::lower_bound(kKnots.begin(), kKnots.end(), rows);
  const auto high = std::min(static_cast<size_t>(at - kKnots.begin()), kKnots.size() - 1);
  const size_t low = high == 0 || kKnots[high] == rows ? high : high - 1;
  const double width = std::max(kKnots[high] - kKnots[low], 1);
  return {low, high, low == high ? 1.0 : (rows - kKnots[low]) / width};
}

void StepTimes::SetBase(int32_t knot_rows, double seconds) {
  const auto at = std::find(kKnots.begin(), kKnots.end(), knot_rows);
  CHECK(at != kKnots.end());
  double& base = base_[static_cast<size_t>(at - kKnots.begin())];
  if (seconds <= 0) return;
  if (base == 0) ++known_;
  base = seconds / load_;
}

void StepTimes::SetDepth(double per_sequence, double per_further_row) {
  per_sequence_ = std::max(per_sequence, 0.0);
  per_further_row_ = std::max(per_further_row, 0.0);
}

double StepTimes::KnotOf(size_t knot) const {
  if (base_[knot] > 0) return base_[knot];
  size_t below = knot, above = knot;
  while (below > 0 && base_[below] == 0) --below;
  while (above + 1 < kKnots.size() && base_[above] == 0) ++above;
  const double rows = kKnots[knot];
  const double low = base_[below], high = base_[above];
  if (low > 0 && high > 0) {
    const double share = (rows - kKnots[below]) / (kKnots[above] - kKnots[below]);
    return low + share * (high - low);
  }
  // Off one end of what was measured: by the usual price of a further row.
  const auto price = [](double r) { return 1.0 + kFurtherRow * (r - 1.0); };
  if (low > 0) return low * price(rows) / price(kKnots[below]);
  return high * price(rows) / price(kKnots[above]);
}

double StepTimes::Base(int32_t rows) const {
  const Place place = PlaceOf(rows);
  const double high = KnotOf(place.high);
  const double low = place.low == place.high ? high : KnotOf(place.low);
  return low + place.share * (high - low);
}

double StepTimes::Depth(const StepShape& shape) const {
  return static_cast<double>(shape.depth) * per_sequence_ +
         static_cast<double>(shape.further_depth) * per_further_row_;
}

double StepTimes::Of(const StepShape& shape) const {
  if (known_ == 0 || shape.rows <= 0) return 0;
  return load_ * (Base(shape.rows) + Depth(shape));
}

void StepTimes::Scale(double ratio) { load_ *= std::pow(Bounded(ratio), kLoadRate); }

void StepTimes::Observe(const StepShape& shape, double seconds, double trust) {
  if (seconds <= 0 || shape.rows <= 0) return;
  const Place place = PlaceOf(shape.rows);
  if (known_ == 0) {
    SetBase(kKnots[place.share < 0.5 ? place.low : place.high], seconds);
    return;
  }
  const double ratio = Bounded(seconds / Of(shape));
  const auto take = [&](size_t knot, double share) {
    if (share <= 0) return;
    const double base = KnotOf(knot);
    const bool is_new = base_[knot] == 0;
    if (is_new) ++known_;
    base_[knot] = base * std::pow(ratio, is_new ? 1.0 : trust * kKnotRate * share);
  };
  take(place.low, 1.0 - place.share);
  take(place.high, place.share);
  load_ *= std::pow(ratio, trust * kLoadRate);
}

}  // namespace millrace
