// Whether a JSON text fits a schema: type, enum, const, properties, required, additionalProperties,
// items, minItems, maxItems, minimum, maximum, minLength, maxLength, pattern, anyOf, allOf.
#pragma once

#include <string_view>

#include "base/result.h"

namespace millrace {

// An error where the schema is no JSON, or uses a keyword that is not known here.
Status CheckSchema(std::string_view schema);
// False for a text that is no JSON. The schema must have passed CheckSchema.
bool FitsSchema(std::string_view schema, std::string_view text);

}  // namespace millrace
