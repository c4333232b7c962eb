// Insights: what the optimisations saved, summed over completed requests: since the start, and
// lately. Internal to server/. From any thread; a constant time per request.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>

#include "base/clock.h"
#include "openai_api/insights_json.h"
#include "openai_api/response.h"

namespace millrace::server_internal {

class Insights {
 public:
  static constexpr Duration kWindow = std::chrono::seconds(60);
  static constexpr size_t kMostRecent = 100'000;  // requests kept for the window

  explicit Insights(TimePoint start) : start_(start) {}
  void Add(TimePoint now, const Usage& usage);
  std::string Json(TimePoint now);

 private:
  struct Recent {
    TimePoint at;
    SavingsSum sum;
  };

  const TimePoint start_;
  std::mutex mutex_;
  SavingsSum total_;
  std::deque<Recent> recent_;
};

}  // namespace millrace::server_internal
