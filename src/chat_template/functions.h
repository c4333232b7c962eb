// The global functions of chat templates: range, dict, namespace, joiner, cycler and
// raise_exception.
#pragma once

#include <string_view>

#include "chat_template/objects.h"

namespace millrace::jinja {

// Null for an unknown name.
BuiltinFunction FindBuiltin(std::string_view name);

}  // namespace millrace::jinja
