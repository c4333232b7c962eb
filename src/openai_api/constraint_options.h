// What the answer must look like: response_format, grammar, structured_outputs (and the guided_...
// fields that came before it in vLLM).
#pragma once

#include <string>

#include "openai_api/json_fields.h"

namespace millrace {

struct GenerationOptions;

// At most one of them may ask for something; an error names the field.
void ParseConstraintOptions(openai_internal::Fields& fields, GenerationOptions& options);

}  // namespace millrace
