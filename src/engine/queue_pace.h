// QueuePace: how fast the queue moves, so that who is refused can be told when to come back.
//
// Each request that begins tells how long the queue stood still before it: since the one before it
// began, or since it arrived where that was later (then nobody waited in between). Means that fade
// with the recent past; no clock is read.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace millrace {

class QueuePace {
 public:
  // A request of so many prompt tokens, here since `arrival`, left the queue to begin.
  void Begun(TimePoint arrival, TimePoint now, int32_t prompt_tokens);
  // How long so many requests with so many prompt tokens in all take to begin; by their count or
  // by their tokens, whichever is longer. Nothing while none has begun.
  std::optional<Duration> TimeFor(int32_t requests, int64_t tokens) const;

 private:
  std::optional<TimePoint> last_;
  int32_t count_ = 0;
  double seconds_ = 0;  // of one request, mean
  double tokens_ = 0;   // of one request, mean
};

}  // namespace millrace
