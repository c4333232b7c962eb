// The inner shapes of fields that are objects or arrays. Internal to openai_api/.
#pragma once

#include <string_view>

#include "openai_api/json_fields.h"

namespace millrace::openai_internal {

// As a JSON schema; {} (anything) where the list has none. `body`: whose field it is, where bodies
// have different ones of that name.
Json ShapeOf(std::string_view body, std::string_view name);
Json ErrorShape();

}  // namespace millrace::openai_internal
