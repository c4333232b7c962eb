#include "server/insights_route.h"

#include <algorithm>

namespace millrace::server_internal {

std::optional<AttentionSizes> AttentionSizesOf(const Shared& shared) {
  if (!shared.config.dashboard) return std::nullopt;
  const ModelInfo& info = shared.model.engine->info();
  if (info.kv_shape.head_dim <= 0) return std::nullopt;
  return AttentionSizes{.heads = std::max(info.heads, info.kv_shape.kv_heads),
                        .kv_heads = info.kv_shape.kv_heads,
                        .head_dim = info.kv_shape.head_dim,
                        .kv_type = shared.config.dashboard->kv_type,
                        .isa = shared.config.dashboard->isa};
}

std::string CurrentInsights(Shared& shared) {
  const TimePoint now = shared.clock.Now();
  const auto served = shared.insights.Served(now, Estimates::kMostRequests);
  const auto estimates =
      shared.estimates.Of(now, served, *shared.model.engine, AttentionSizesOf(shared));
  return shared.insights.Json(now, estimates);
}

void HandleInsights(const ContextPointer& context, const HttpRequest&) {
  context->Reply(JsonResponse(200, CurrentInsights(context->shared())));
}

}  // namespace millrace::server_internal
