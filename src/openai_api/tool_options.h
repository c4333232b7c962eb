// The fields of a chat that concern tools and reasoning. Internal to openai_api/.
#pragma once

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

// tools, tool_choice, parallel_tool_calls: into `request`, and the tools, unless none are wanted,
// into `chat` for the template.
void ParseTools(Fields& fields, Json& chat, ChatRequest& request);
// Calls of the assistant's and their results, which get the name of what was called.
void CheckToolMessages(Fields& fields, Json& messages, ChatRequest& request);
// reasoning_format, reasoning_effort.
void ParseReasoning(Fields& fields, Json& chat, ChatRequest& request);

}  // namespace millrace::openai_internal
