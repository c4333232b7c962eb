// How surprising the words of passages are, for their pruning. Internal to server/.
#pragma once

#include "prompt_reduction/token_pruning.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// Asks the model of ServedModel::surprises or, where there is none, the served model itself,
// through its engine. Waits: for workers. A text of more than 512 tokens is scored in pieces, each
// as if nothing stood before it; one that its tokens do not spell to the byte is not scored.
SurpriseModel SurpriseModelOf(const ContextPointer& context);

}  // namespace millrace::server_internal
