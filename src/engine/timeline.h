// Timeline: the last steps of the engine, for drawing the batch as it happened.
//
// Invariant: bounded memory: the last `max_steps` steps, of each the sequences that took part and
// at most kMostQueued of those that waited. The engine's thread adds, any thread reads.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/id.h"

namespace millrace {

struct TimelinePart {
  enum class Kind : uint8_t {
    kQueued,     // waits for its first step
    kPreempted,  // lost its blocks and waits to begin again
    kIdle,       // runs, but sat this step out
    kPrefill,
    kDecode,
  };
  RequestId request;
  Kind kind = Kind::kQueued;
  bool finished = false;  // in this step
  int32_t tokens = 0;     // rows computed
  int32_t drafted = 0;    // of them, of drafted tokens
  int32_t emitted = 0;    // tokens that the step gave
  int32_t cached = 0;     // tokens taken from the prefix cache, where it began in this step
};

struct TimelineStep {
  int64_t number = 0;  // 1 for the engine's first
  TimePoint begun{};
  Duration took{};
  int32_t waiting = 0;  // queued or preempted, listed or not
  std::vector<TimelinePart> parts;
};

class Timeline {
 public:
  static constexpr size_t kMostQueued = 64;

  // `max_steps` of 0: nothing is kept.
  explicit Timeline(size_t max_steps) : steps_(max_steps) {}

  bool enabled() const { return !steps_.empty(); }
  void Add(const TimelineStep& step);
  // Oldest first; the last `most` at most.
  std::vector<TimelineStep> Last(size_t most) const;

 private:
  mutable std::mutex mutex_;
  std::vector<TimelineStep> steps_;  // a ring: their parts keep their memory
  size_t next_ = 0;
  size_t count_ = 0;
};

}  // namespace millrace
