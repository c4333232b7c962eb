// The fields about when a request's turn is: `priority` and `deadline_ms` of the object "millrace".
// Internal to openai_api/.
#pragma once

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

void ParseScheduleOptions(Fields& fields, GenerationOptions& options);

}  // namespace millrace::openai_internal
