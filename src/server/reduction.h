// A chat request's passages -> its prompt: choosing them, on the worker's thread, and what is told
// of it. Internal to server/.
#pragma once

#include <memory>

#include "openai_api/reduced_chat.h"
#include "openai_api/request_parser.h"
#include "server/request_context.h"

namespace millrace::server_internal {

// Chooses among chat.documents, or what chat.store holds on the question, if it has either, and
// puts the chosen into chat.template_json. Gives what became of them; nothing where there were
// none. The metrics count it.
ApiResult<std::shared_ptr<const ReductionReport>> ReducePassages(const ContextPointer& context,
                                                                 ChatRequest& chat);

}  // namespace millrace::server_internal
