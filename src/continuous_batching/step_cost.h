// StepCost: how long a step takes as a function of its rows, learnt while the steps run; and so how
// many prefill rows a step may hold that must not take longer than a target.
//
// time(step) = Decode(decode rows) + prefill rows * time of a prefill row. Decode is a straight
// line through the steps without prefill: a fixed part (the weights are read once) and a part per
// row. Both parts follow the recent past (exponential moving averages), so that they follow the
// depth of the context and the load of the machine. Where a step with p prefill rows took longer
// than the target, the answer for the next is less than p, and the other way round, even where
// Decode is off: what it lacks is in the time of the prefill rows.
//
// No clock is read: the caller says what a step took. Source of chunks that are bounded by a
// target: Sarathi-Serve (Agrawal et al., OSDI 2024), section 4.3; there the budget is profiled
// beforehand.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace millrace {

class StepCost {
 public:
  // The fewest prefill rows of a step, whatever they cost: prompts make progress.
  static constexpr int32_t kLeastPrefill = 8;
  // The prefill rows of a step while nothing has been measured.
  static constexpr int32_t kFirstPrefill = 32;

  // What a step took that held so many rows. Ignored where it held none or took no time.
  void Observe(int32_t decode_rows, int32_t prefill_rows, Duration took);

  // What copying so many blocks to or from the swap space took.
  void ObserveCopies(int32_t blocks, Duration took);

  // How long a step without prefill takes, as far as that is known.
  std::optional<Duration> Decode(int32_t rows) const;
  // The time that a prefill row adds, as the latest steps had it; nothing while none was measured.
  std::optional<Duration> PrefillRow() const;
  // What so many prefill rows add to a step, by a straight line through the last steps that had
  // some: a row of a short chunk costs more than one of a long chunk. For other chunks than the
  // latest; the bound of a step goes by PrefillRow, which follows the load sooner.
  std::optional<Duration> Prefill(int32_t rows) const;
  // What copying a block takes; nothing while none was measured.
  std::optional<Duration> BlockCopy() const;
  // How many prefill rows fit beside `decode_rows` into a step of `target`: at least
  // kLeastPrefill, at most `most` (which may be less).
  int32_t PrefillRows(int32_t decode_rows, Duration target, int32_t most) const;

 private:
  // A weighted mean whose weights fade: the latest has the share 1/memory, the first `memory` count
  // alike.
  struct Mean {
    double value = 0;
    int32_t count = 0;
    void Add(double sample, int32_t memory);
  };

  // Least squares of seconds by rows, whose weights fade, too.
  struct Line {
    Mean rows, seconds, rows_rows, rows_seconds;
    void Add(double row_count, double took, int32_t memory);
    // What is added a row, at least 0; nothing where all had about as many rows.
    std::optional<double> Slope() const;
  };

  double DecodeSeconds(int32_t rows) const;
  void TakeFromPrefill(double fixed);

  Line decode_;       // steps without prefill
  Line prefill_;      // what prefill rows added to steps
  Mean prefill_row_;  // seconds
  Mean block_copy_;   // seconds
};

}  // namespace millrace
