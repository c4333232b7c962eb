// LatencyWindow: the last few durations of a kind and their exact quantiles; the histograms of
// /metrics know only their buckets. Internal to server/. From any thread.
//
// Invariant: at most `most` are kept; with 0 nothing is, and Add costs nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "openai_api/feed_json.h"

namespace millrace::server_internal {

class LatencyWindow {
 public:
  explicit LatencyWindow(size_t most) : most_(most) {}

  void Add(Duration took) {
    if (most_ == 0) return;
    const std::lock_guard lock(mutex_);
    if (last_.size() < most_) {
      last_.push_back(Milliseconds(took));
    } else {
      last_[next_] = Milliseconds(took);
    }
    next_ = (next_ + 1) % most_;
  }

  // The nearest rank: the least value that so large a share does not pass. What is rarer than one
  // in ten of those above it is not told: p95 under 200 values, p99 under 1,000.
  LatencyFigures Figures() const {
    std::vector<double> sorted;
    {
      const std::lock_guard lock(mutex_);
      sorted = last_;
    }
    LatencyFigures figures;
    figures.count = static_cast<int64_t>(sorted.size());
    if (sorted.empty()) return figures;
    std::sort(sorted.begin(), sorted.end());
    const auto at = [&](size_t percent) {
      return sorted[(sorted.size() * percent + 99) / 100 - 1];
    };
    figures.p50 = at(50);
    figures.p90 = at(90);
    if (sorted.size() >= 200) figures.p95 = at(95);
    if (sorted.size() >= 1000) figures.p99 = at(99);
    figures.most = sorted.back();
    return figures;
  }

 private:
  const size_t most_;
  mutable std::mutex mutex_;
  std::vector<double> last_;  // milliseconds; a ring once it is full
  size_t next_ = 0;
};

}  // namespace millrace::server_internal
