// A JSON object whose text was cut -> what of it is whole. Internal to openai_api/.
#pragma once

#include <string_view>

#include "openai_api/json_fields.h"

namespace millrace::openai_internal {

// The members that are whole, and a string's value as far as it goes; a number, a word or a key
// that is cut is left out: half a number is another one. An object that is whole comes out as it
// is, and what cannot be read as the beginning of one as {}.
Json PartialObject(std::string_view text);

}  // namespace millrace::openai_internal
