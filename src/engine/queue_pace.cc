#include "engine/queue_pace.h"

#include <algorithm>

namespace millrace {
namespace {

// Requests that the means look back on: more than begin together when a batch is formed.
constexpr int32_t kMemory = 64;
constexpr double kMostSeconds = 1e6;

}  // namespace

void QueuePace::Begun(TimePoint arrival, TimePoint now, int32_t prompt_tokens) {
  const TimePoint since = std::max(arrival, last_.value_or(arrival));
  last_ = now;
  count_ = std::min(count_ + 1, kMemory);
  seconds_ += (std::max(0.0, Seconds(now - since)) - seconds_) / count_;
  tokens_ += (prompt_tokens - tokens_) / count_;
}

std::optional<Duration> QueuePace::TimeFor(int32_t requests, int64_t tokens) const {
  if (count_ == 0) return std::nullopt;
  const double by_count = static_cast<double>(requests) * seconds_;
  const double by_tokens = static_cast<double>(tokens) * seconds_ / std::max(tokens_, 1.0);
  const double seconds = std::min(std::max(by_count, by_tokens), kMostSeconds);
  return Duration(static_cast<int64_t>(seconds * 1e9));
}

}  // namespace millrace
