#include "server/estimates.h"

#include <algorithm>

namespace millrace::server_internal {
namespace {

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double MeanTotalMs(std::span<const ServedRequest> requests) {
  double sum = 0;
  for (const ServedRequest& r : requests) sum += r.total_ms;
  return sum / static_cast<double>(requests.size());
}

}  // namespace

std::vector<RequestTimeEstimate> Estimates::Of(TimePoint now,
                                               std::span<const ServedRequest> requests,
                                               const Engine& engine,
                                               const std::optional<AttentionSizes>& sizes) {
  const std::lock_guard lock(mutex_);
  if (made_ && now - *made_ < kEvery) return estimates_;
  estimates_.clear();
  if (requests.empty()) return estimates_;
  made_ = now;
  requests = requests.last(std::min(requests.size(), kMostRequests));
  const EngineStats stats = engine.stats();
  const ServedBy served{.scheduler = engine.config().scheduler,
                        .cost = stats.step_cost,
                        .blocks = stats.blocks_total};
  const auto with = MeanRequestMs(requests, served, {});
  if (!with || *with <= 0) return estimates_;
  // What the replay does not explain, as clients that share the cores, is taken to stay as it is.
  const double rest = std::max(0.0, MeanTotalMs(requests) - *with);
  const auto add = [&](const char* name, const char* flag, const Without& without,
                       const char* how) {
    const auto slower = MeanRequestMs(requests, served, without);
    if (slower && *slower > 0)
      estimates_.push_back({name, flag, (*with + rest) / (*slower + rest),
                            static_cast<int64_t>(requests.size()), how});
  };
  add("prefix reuse", "prefix-cache", {.prefix_cache = true},
      "the last requests served again with all prompt tokens computed");
  if (served.scheduler.batching == Batching::kContinuous) {
    add("continuous batching", "batching", {.continuous = true},
        "the last requests served again in static batches");
  }
  if (served.scheduler.layout == KvLayout::kPaged) {
    add("paged KV memory", "kv", {.paged = true},
        "the last requests served again with a region of memory each, which shares no prefix");
  }
  if (const auto factor = AttentionFactor(requests, stats, sizes)) {
    add("efficient attention", "attention", {.step_factor = *factor},
        "the last requests served again with steps longer by what standard attention takes more");
  }
  return estimates_;
}

std::optional<double> Estimates::AttentionFactor(std::span<const ServedRequest> requests,
                                                 const EngineStats& stats,
                                                 const std::optional<AttentionSizes>& sizes) {
  if (!sizes || stats.step_time <= Duration(0)) return std::nullopt;
  if (!std::exchange(probed_, true)) {
    int64_t tokens = 0;
    for (const ServedRequest& r : requests) tokens += r.prompt_tokens;
    const int64_t mean = tokens / static_cast<int64_t>(requests.size());
    const auto length = static_cast<int32_t>(std::clamp<int64_t>(mean, kLeastProbed, 512));
    if (const auto measured = ProbeAttention(*sizes, length); measured.ok())
      attention_ratio_ = Median(measured->standard.ms) / Median(measured->flash.ms);
  }
  if (!attention_ratio_) return std::nullopt;
  const double share = std::min(1.0, stats.model.attention_seconds / Seconds(stats.step_time));
  return 1 + share * (*attention_ratio_ - 1);
}

}  // namespace millrace::server_internal
