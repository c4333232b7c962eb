// GET /debug/...: what the engine does, for drawing. Internal to server/.
#pragma once

#include "http/message.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// GET /debug/timeline?steps=N: the last N steps, all that are kept where N is not given.
void HandleTimeline(const ContextPointer& context, const HttpRequest& request);

// GET /debug/kv: what each KV block is used for between two steps.
void HandleKvMap(const ContextPointer& context, const HttpRequest& request);

}  // namespace millrace::server_internal
