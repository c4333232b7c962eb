// A field that is a text or several, or token ids instead of them: `prompt`, `input`. Internal to
// openai_api/.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"

namespace millrace::openai_internal {

// Nothing unless all are integers from 0 to INT32_MAX.
std::optional<std::vector<TokenId>> TokenArray(const Json& array);

// A string, an array of strings, an array of token ids, or an array of such arrays, and not empty;
// else an error of the field.
void ParseTextInputs(Fields& fields, std::string_view name, std::vector<Prompt>& texts);

}  // namespace millrace::openai_internal
