#include "server/key_limits.h"

#include <chrono>
#include <utility>

namespace millrace::server_internal {
namespace {

KeyLimits LimitsOf(const ApiKey& key, const ServerConfig& config) {
  KeyLimits limits = key.limits;
  if (limits.requests == 0) limits.requests = config.max_requests_per_key;
  if (limits.tokens == 0) limits.tokens = config.max_tokens_per_key;
  return limits;
}

ApiError TooMuchOfKey(const KeyLimits& limits, const KeyLoad::Refusal& refusal) {
  const auto message = [&] {
    switch (refusal.limit) {
      case KeyLoad::Limit::kRequests:
        return fmt::format("{} requests under way, its limit: try again when one has ended",
                           limits.requests);
      case KeyLoad::Limit::kTokens:
        return fmt::format(
            "under way what its limit of {} prompt tokens allows: try again when a request has "
            "ended",
            limits.tokens);
      case KeyLoad::Limit::kRequestsPerMinute:
        return fmt::format("used up its {} requests per minute: try again after the Retry-After",
                           limits.requests_per_minute);
      case KeyLoad::Limit::kTokensPerMinute:
        break;
    }
    return fmt::format("used up its {} tokens per minute: try again after the Retry-After",
                       limits.tokens_per_minute);
  };
  ApiError error = HttpApiError(429, "This API key has " + message() + ".");
  error.type = "rate_limit_error";
  error.code = "rate_limit_exceeded";
  if (refusal.retry_after > Duration(0)) {
    error.retry_after = std::chrono::ceil<std::chrono::seconds>(refusal.retry_after).count();
  }
  return error;
}

}  // namespace

ApiResult<KeyLoad::Ticket> EnterKeyLoad(const ContextPointer& context, const ApiKey& key,
                                        int64_t tokens) {
  const Shared& shared = context->shared();
  const KeyLimits limits = LimitsOf(key, shared.config);
  auto entered = context->load().TryEnter(key.id, tokens, limits, shared.clock.Now());
  if (const auto* refusal = std::get_if<KeyLoad::Refusal>(&entered)) {
    return TooMuchOfKey(limits, *refusal);
  }
  return std::get<KeyLoad::Ticket>(std::move(entered));
}

}  // namespace millrace::server_internal
