// The fields about passages: `documents`, and `reduce` of the object "millrace". Internal to
// openai_api/.
#pragma once

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

// Fills documents, reduce and question; `messages` have been normalised.
void ParsePassageOptions(Fields& fields, const Json& messages, ChatRequest& request);

}  // namespace millrace::openai_internal
