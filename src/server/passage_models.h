// What the models beside the chat model say of passages, for prompt reduction. Internal to server/.
#pragma once

#include "prompt_reduction/candidates.h"
#include "server/server.h"

namespace millrace::server_internal {

// `similarity` where there is an embedding model, `relevance` where there is a reranker. They wait
// for the model's thread: for workers. A passage (its title before its text) or question that the
// model cannot read whole is judged by its beginning.
PassageModels PassageModelsOf(const ServedModel& served);

}  // namespace millrace::server_internal
