// Estimates: what requests would take without an optimisation, from what was served lately
// (counterfactual.h). Internal to server/. From any thread; what it found holds for kEvery, so that
// asking often costs nothing.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "openai_api/insights_json.h"
#include "server/attention_probe.h"
#include "server/counterfactual.h"

namespace millrace::server_internal {

class Estimates {
 public:
  static constexpr Duration kEvery = std::chrono::seconds(10);
  static constexpr size_t kMostRequests = 128;  // the latest of `requests`

  // `sizes`: attention is measured once, at the length of these prompts, to say what standard
  // attention would cost; without them nothing is said of it.
  std::vector<RequestTimeEstimate> Of(TimePoint now, std::span<const ServedRequest> requests,
                                      const Engine& engine,
                                      const std::optional<AttentionSizes>& sizes);

 private:
  std::optional<double> AttentionFactor(std::span<const ServedRequest> requests,
                                        const EngineStats& stats,
                                        const std::optional<AttentionSizes>& sizes);

  std::mutex mutex_;
  std::optional<TimePoint> made_;
  std::vector<RequestTimeEstimate> estimates_;
  bool probed_ = false;
  std::optional<double> attention_ratio_;  // standard attention's time / flash attention's
};

}  // namespace millrace::server_internal
