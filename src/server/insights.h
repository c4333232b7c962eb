// Insights: what the optimisations saved, summed over completed requests: since the start, and
// lately. Internal to server/. From any thread; a constant time per request.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "openai_api/insights_json.h"
#include "openai_api/response.h"
#include "server/counterfactual.h"

namespace millrace::server_internal {

class Insights {
 public:
  static constexpr Duration kWindow = std::chrono::seconds(60);
  static constexpr size_t kMostRecent = 100'000;  // requests kept for the window

  explicit Insights(TimePoint start) : start_(start) {}
  void Add(TimePoint now, const Usage& usage, const ServedRequest& served);
  // The latest of the window, oldest first.
  std::vector<ServedRequest> Served(TimePoint now, size_t most) const;
  std::string Json(TimePoint now, std::span<const RequestTimeEstimate> estimates) const;

 private:
  struct Recent {
    TimePoint at;
    SavingsSum sum;
    ServedRequest served;
  };

  const TimePoint start_;
  mutable std::mutex mutex_;
  SavingsSum total_;
  std::deque<Recent> recent_;
};

}  // namespace millrace::server_internal
