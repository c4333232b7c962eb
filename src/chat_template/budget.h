// Budget: what one rendering may spend. Whatever depends on the size of a value is charged before
// it is done, so a template can be slow or large only up to its limits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "chat_template/failure.h"

namespace millrace {

struct RenderLimits {
  int64_t max_steps = 1'000'000;  // expressions and statements run, and elements handled (by 16)
  int max_depth = 600;            // nested expressions, statements and macro calls
  size_t max_output_bytes = size_t{8} << 20;  // of the rendered prompt
  size_t max_allocated_bytes = size_t{256}
                               << 20;  // of all values made on the way, not only those alive
  Duration max_time = std::chrono::seconds(2);  // by `clock`
  Clock clock;
};

}  // namespace millrace

namespace millrace::jinja {

class Budget {
 public:
  explicit Budget(const RenderLimits& limits)
      : limits_(limits), deadline_(limits.clock.Now() + limits.max_time) {}

  void Step() { Charge(1); }
  // Before walking or making `count` elements of a container.
  void Elements(size_t count) { Charge(1 + static_cast<int64_t>(count / 16)); }
  // Before reading or comparing that many bytes of text.
  void Bytes(size_t count) {
    if (count >= 256) Charge(static_cast<int64_t>(count / 256));
  }
  // Before making a value of that size. Counts what was ever made, an upper bound of what is alive.
  void Allocate(size_t bytes) {
    if (bytes > limits_.max_allocated_bytes - allocated_) {
      FailTooLarge("the template makes values of more than " +
                   std::to_string(limits_.max_allocated_bytes) +
                   " bytes; shorten the conversation or fix the template");
    }
    allocated_ += bytes;
    Bytes(bytes);
  }
  // Before `count` copies of `bytes` bytes each; neither number is trusted.
  void AllocateMany(uint64_t count, uint64_t bytes) {
    if (bytes != 0 && count > limits_.max_allocated_bytes / bytes)
      Allocate(limits_.max_allocated_bytes + 1);
    Allocate(count * bytes);
  }
  void Output(size_t bytes_so_far) const {
    if (bytes_so_far > limits_.max_output_bytes) {
      FailTooLarge("the rendered prompt is over the limit of " +
                   std::to_string(limits_.max_output_bytes) + " bytes; shorten the conversation");
    }
  }

  // One level of recursion, for as long as it lives.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) {
      if (budget_.depth_ >= budget_.limits_.max_depth) {
        FailTooLarge("the template recurses deeper than " +
                     std::to_string(budget_.limits_.max_depth) +
                     " levels; look for a macro that calls itself without an end");
      }
      ++budget_.depth_;
    }
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  static constexpr int64_t kClockInterval = 512;  // steps between two looks at the clock

  void Charge(int64_t steps) {
    steps_ += steps;
    if (steps_ > limits_.max_steps) {
      FailTooLarge("the template takes more than " + std::to_string(limits_.max_steps) +
                   " steps; look for a loop without a reasonable end");
    }
    if (steps_ >= next_look_) LookAtClock();
  }
  void LookAtClock() {
    next_look_ = steps_ + kClockInterval;
    if (limits_.clock.Now() > deadline_) {
      FailTooLarge("the template took longer than " +
                   std::to_string(Milliseconds(limits_.max_time)) +
                   " ms to render; shorten the conversation or fix the template");
    }
  }

  RenderLimits limits_;
  TimePoint deadline_;
  int64_t steps_ = 0;
  int64_t next_look_ = kClockInterval;
  size_t allocated_ = 0;
  int depth_ = 0;
};

}  // namespace millrace::jinja
