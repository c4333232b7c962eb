// What an API key may have under way, and what its client is told past that. Internal to server/.
#pragma once

#include <variant>

#include "server/key_load.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// Enters a request of `tokens` prompt tokens: of a generation, or texts to embed or rank. A 429
// that says which limit is reached.
ApiResult<KeyLoad::Ticket> EnterKeyLoad(const ContextPointer& context, const ApiKey& key,
                                        int64_t tokens);

}  // namespace millrace::server_internal
