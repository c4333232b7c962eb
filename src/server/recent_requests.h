// RecentRequests: the generations that ended last, for the dashboard. Internal to server/. From any
// thread. Invariant: the latest kMost are kept; nothing where it is not enabled.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "openai_api/feed_json.h"

namespace millrace::server_internal {

class RecentRequests {
 public:
  static constexpr size_t kMost = 64;

  explicit RecentRequests(bool enabled) : enabled_(enabled) {}

  bool enabled() const { return enabled_; }
  void Add(EndedRequest request) {
    if (!enabled_) return;
    const std::lock_guard lock(mutex_);
    request.serial = ++serial_;
    ended_.push_back(std::move(request));
    if (ended_.size() > kMost) ended_.pop_front();
  }
  // Those that ended after the one with this serial number, oldest first.
  std::vector<EndedRequest> Since(int64_t serial) const {
    const std::lock_guard lock(mutex_);
    std::vector<EndedRequest> found;
    for (const EndedRequest& request : ended_) {
      if (request.serial > serial) found.push_back(request);
    }
    return found;
  }

 private:
  const bool enabled_;
  mutable std::mutex mutex_;
  std::deque<EndedRequest> ended_;
  int64_t serial_ = 0;
};

}  // namespace millrace::server_internal
