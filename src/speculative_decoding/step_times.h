// StepTimes: how long a step takes as a function of the rows that go through the model, of the
// sequences they belong to and of the depth of their context; measured at the start and kept up to
// date by every step.
//
// time = load * (Base(rows) + sequences' depth * a + further rows' depth * b). Base is a line
// between knots, because rows do not cost alike: while weights stream from memory further rows are
// nearly free, and kernels work on tiles of rows. `load` is what the machine does to all of them
// alike. No clock is read: the caller says what steps took.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace millrace {

struct StepShape {
  int32_t rows = 0;
  // The positions that attention reads, added up over the sequences, and over all rows but the
  // first of each sequence.
  int64_t depth = 0;
  int64_t further_depth = 0;
};

class StepTimes {
 public:
  static constexpr std::array<int32_t, 20> kKnots = {1,  2,  3,  4,  5,  6,  7,   8,   9,   12,
                                                     16, 20, 24, 32, 48, 64, 128, 256, 512, 1024};
  // What a further row adds to the time of one, where nothing was measured.
  static constexpr double kFurtherRow = 0.15;

  // Measurements at the start, at no depth; then the coefficients of depth, in seconds a position.
  void SetBase(int32_t knot_rows, double seconds);
  void SetDepth(double per_sequence, double per_further_row);
  // A step as it ran. Keeps outliers (the machine did something else) from mattering much. `trust`:
  // as many times the usual weight, for a shape that is seen rarely; 1 to 3.
  void Observe(const StepShape& shape, double seconds, double trust = 1.0);

  // All steps take this many times as long as was thought.
  void Scale(double ratio);

  bool known() const { return known_ > 0; }
  // Seconds; 0 while nothing is known.
  double Of(const StepShape& shape) const;

 private:
  struct Place {
    size_t low, high;
    double share;  // of `high`
  };
  double KnotOf(size_t knot) const;  // as measured, or as the measured ones nearest say
  static Place PlaceOf(int32_t rows);
  double Base(int32_t rows) const;
  double Depth(const StepShape& shape) const;

  std::array<double, kKnots.size()> base_{};  // 0: not measured
  int32_t known_ = 0;
  double load_ = 1.0;
  double per_sequence_ = 0, per_further_row_ = 0;
};

}  // namespace millrace
