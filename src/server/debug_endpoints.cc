#include "server/debug_endpoints.h"

#include <charconv>
#include <chrono>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include "openai_api/debug_json.h"
#include "server/query.h"

namespace millrace::server_internal {
namespace {

// The number that `query` gives `name`; `otherwise` where it gives none; nothing where it is no
// number.
std::optional<size_t> QueryNumber(std::string_view query, std::string_view name, size_t otherwise) {
  const auto digits = QueryValue(query, name);
  if (!digits) return otherwise;
  size_t number = 0;
  const auto [rest, failure] = std::from_chars(digits->begin(), digits->end(), number);
  if (failure != std::errc() || rest != digits->end()) return std::nullopt;
  return number;
}

constexpr std::chrono::seconds kMapPatience{5};

}  // namespace

void HandleTimeline(const ContextPointer& context, const HttpRequest& request) {
  const auto steps = QueryNumber(request.query, "steps", std::numeric_limits<size_t>::max());
  if (!steps) {
    ApiError error = HttpApiError(400, "steps must be a number, as in /debug/timeline?steps=100.");
    error.param = "steps";
    return context->Refuse(error);
  }
  const Shared& shared = context->shared();
  const auto last = shared.model.engine->LastSteps(*steps);
  context->Reply(JsonResponse(
      200, TimelineJson(last, shared.started, shared.clock.Now(), shared.names.All())));
}

// The engine's thread only takes the picture; a thread of its own makes the JSON of it.
void HandleKvMap(const ContextPointer& context, const HttpRequest&) {
  auto taken = std::make_shared<std::promise<KvMap>>();
  std::future<KvMap> map = taken->get_future();
  context->shared().model.engine->InspectKv([taken](const KvMap& now) { taken->set_value(now); });
  if (map.wait_for(kMapPatience) != std::future_status::ready) {
    return context->Refuse(
        ToApiError({"The engine is busy with a long step: try again.", ErrorKind::kExhausted}));
  }
  context->Reply(JsonResponse(200, KvMapJson(map.get(), context->shared().names.All())));
}

}  // namespace millrace::server_internal
