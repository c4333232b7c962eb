// The fields about speculation: `speculate` and `explain` of the object "millrace". Internal to
// openai_api/.
#pragma once

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

void ParseSpeculationOptions(Fields& fields, GenerationOptions& options);

}  // namespace millrace::openai_internal
