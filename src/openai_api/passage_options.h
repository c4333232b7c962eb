// The fields about passages: `documents`, and `reduce` of the object "millrace". Internal to
// openai_api/.
#pragma once

#include <vector>

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

// The field `documents`: texts or objects {"id", "text", "title"}; none where it is absent.
void ParseDocuments(Fields& fields, std::vector<Passage>& passages);

// Fills documents, reduce and question; `messages` have been normalised.
void ParsePassageOptions(Fields& fields, const Json& messages, ChatRequest& request);

}  // namespace millrace::openai_internal
