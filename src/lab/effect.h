// What one configuration does against another, over rounds: effect, interval, tests, verdict.
//
// The round is the unit. In a round every configuration runs once, in random order, on the same
// requests, so a round gives each candidate one difference d = ln(candidate / baseline), and what
// both suffered (drift, a busy neighbour) cancels. Never the bootstrap: over 8 rounds its
// percentile interval is wrong 12 % of the time where 5 % is promised. Calibrated by simulation in
// effect_test.cc. Pure.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "lab/statistics.h"

namespace millrace {

// +-3 %: less than that is no reason to change a server.
inline constexpr double kPracticalBand = 0.03;
// The exact sign-flip test looks at 2^rounds outcomes.
inline constexpr size_t kMostRounds = 20;

struct Effect {
  size_t rounds = 0;
  double ratio = 1;      // exp(mean d): candidate / baseline
  Interval interval;     // of the ratio: 95 %, Student's t with rounds - 1 degrees of freedom
  Interval bounds;       // of the ratio: two one-sided 95 % bounds, which is the 90 % interval
  double deviation = 0;  // of d between rounds (n - 1 in the denominator)
  double p = 1;          // exact two-sided sign-flip test (Fisher 1935) of mean d = 0
};
// Of at most kMostRounds rounds. With fewer than two, the intervals are (0, infinity) and p is 1.
Effect PairedEffect(std::span<const double> log_ratios);

// Holm's step-down adjustment (1979) over a family of tests: each p as it counts against 0.05.
std::vector<double> HolmAdjusted(std::span<const double> p);
// The fewest rounds with which one of so many tests can come out at 0.05 or less: the sign-flip
// test's least p is 2 / 2^rounds, and Holm multiplies it by the number of tests.
int32_t LeastRounds(size_t tests);

enum class EffectVerdict { kHelps, kHurts, kNoPracticalEffect, kUndecided };
std::string_view NameOf(EffectVerdict verdict);  // "helps", "no practical effect", ...
enum class Better { kLower, kHigher };

// By one-sided tests at 5 % against the band's ends, as equivalence is tested (TOST; Schuirmann
// 1987). kHelps and kHurts: the bounds lie beyond the band (not only beyond "no change": else an
// effect of 1 % would be called one whenever the noise asks for it), and adjusted_p is at most
// 0.05. kNoPracticalEffect: the bounds lie within the band. Else kUndecided.
EffectVerdict Decide(const Effect& effect, double adjusted_p, Better better,
                     double band = kPracticalBand);

// The smallest change (0.1: 10 %) that lies beyond the band's end with probability `power`, where d
// has standard deviation `deviation` between rounds: band + exp((t_.95 + t_power) s / sqrt(n)) - 1,
// both quantiles with n - 1 degrees of freedom. Infinite for less than two rounds.
double DetectableEffect(double deviation, size_t rounds, double power = 0.85,
                        double band = kPracticalBand);

// Quantile of Student's t.
double StudentQuantile(double p, double degrees_of_freedom);

}  // namespace millrace
