// The fields about prefix reuse: cache_salt, and `prefix_cache` and `pin` of the object "millrace".
// Internal to openai_api/.
#pragma once

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

void ParseCacheOptions(Fields& fields, GenerationOptions& options);

}  // namespace millrace::openai_internal
