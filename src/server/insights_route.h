// GET /v1/insights, and the same for the live feed. Internal to server/.
#pragma once

#include <optional>
#include <string>

#include "http/message.h"
#include "server/attention_probe.h"
#include "server/request_context.h"

namespace millrace::server_internal {

std::string CurrentInsights(Shared& shared);
void HandleInsights(const ContextPointer& context, const HttpRequest& request);

// How attention is to be measured here; nothing on a server without a dashboard, which is told.
std::optional<AttentionSizes> AttentionSizesOf(const Shared& shared);

}  // namespace millrace::server_internal
