#include "lab/effect.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace millrace {
namespace {

// The share of all 2^n choices of signs whose sum is at least as far from zero as that of `d`.
// Walks them in Gray code order: one sign changes at a time.
double SignFlipP(std::span<const double> d) {
  double sum = std::accumulate(d.begin(), d.end(), 0.0), scale = 0;
  for (const double x : d) scale += std::fabs(x);
  const double least = std::fabs(sum) - 1e-9 * scale;  // rounding must not lose the outcome itself
  std::vector<bool> flipped(d.size());
  const uint64_t outcomes = uint64_t{1} << d.size();
  uint64_t extreme = std::fabs(sum) >= least ? 1 : 0;
  for (uint64_t i = 1; i < outcomes; ++i) {
    const auto bit = static_cast<size_t>(__builtin_ctzll(i));
    sum += flipped[bit] ? 2 * d[bit] : -2 * d[bit];
    flipped[bit] = !flipped[bit];
    if (std::fabs(sum) >= least) ++extreme;
  }
  return static_cast<double>(extreme) / static_cast<double>(outcomes);
}

}  // namespace

double StudentQuantile(double p, double degrees_of_freedom) {
  return boost::math::quantile(boost::math::students_t(degrees_of_freedom), p);
}

Effect PairedEffect(std::span<const double> log_ratios) {
  CHECK(log_ratios.size() <= kMostRounds);
  Effect effect;
  effect.rounds = log_ratios.size();
  effect.interval = effect.bounds = {0, std::numeric_limits<double>::infinity()};
  if (log_ratios.empty()) return effect;
  const auto n = static_cast<double>(log_ratios.size());
  const double mean = std::accumulate(log_ratios.begin(), log_ratios.end(), 0.0) / n;
  effect.ratio = std::exp(mean);
  if (log_ratios.size() < 2) return effect;
  double squares = 0;
  for (const double d : log_ratios) squares += (d - mean) * (d - mean);
  effect.deviation = std::sqrt(squares / (n - 1));
  const auto around = [&](double quantile) -> Interval {
    const double half = StudentQuantile(quantile, n - 1) * effect.deviation / std::sqrt(n);
    return {std::exp(mean - half), std::exp(mean + half)};
  };
  effect.interval = around(0.975);
  effect.bounds = around(0.95);
  effect.p = SignFlipP(log_ratios);
  return effect;
}

std::vector<double> HolmAdjusted(std::span<const double> p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double least = 0;  // adjusted values never fall below those of smaller ones
  for (size_t i = 0; i < order.size(); ++i) {
    least = std::max(least, static_cast<double>(p.size() - i) * p[order[i]]);
    adjusted[order[i]] = std::min(1.0, least);
  }
  return adjusted;
}

int32_t LeastRounds(size_t tests) {
  int32_t rounds = 1;
  for (double p = static_cast<double>(tests); p > 0.05; p /= 2) ++rounds;
  return rounds;
}

std::string_view NameOf(EffectVerdict verdict) {
  switch (verdict) {
    case EffectVerdict::kHelps:
      return "helps";
    case EffectVerdict::kHurts:
      return "hurts";
    case EffectVerdict::kNoPracticalEffect:
      return "no practical effect";
    case EffectVerdict::kUndecided:
      return "undecided";
  }
  return "unknown";
}

EffectVerdict Decide(const Effect& effect, double adjusted_p, Better better, double band) {
  const bool lower = effect.bounds.high<1 - band, higher = effect.bounds.low> 1 + band;
  if ((lower || higher) && adjusted_p <= 0.05) {
    return lower == (better == Better::kLower) ? EffectVerdict::kHelps : EffectVerdict::kHurts;
  }
  const bool within = effect.bounds.low >= 1 - band && effect.bounds.high <= 1 + band;
  return within ? EffectVerdict::kNoPracticalEffect : EffectVerdict::kUndecided;
}

double DetectableEffect(double deviation, size_t rounds, double power, double band) {
  if (rounds < 2) return std::numeric_limits<double>::infinity();
  const auto n = static_cast<double>(rounds);
  const double reach = StudentQuantile(0.95, n - 1) + StudentQuantile(power, n - 1);
  return band + std::expm1(reach * deviation / std::sqrt(n));
}

}  // namespace millrace
