// Jinja's tests: the names behind `is`.
#pragma once

#include <string_view>

#include "chat_template/objects.h"

namespace millrace::jinja {

using TestFunction = bool (*)(Interpreter&, const Value& input, const CallArguments&);

struct TestEntry {
  std::string_view name;
  TestFunction function;
};

// Null for an unknown name.
const TestEntry* FindTest(std::string_view name);

}  // namespace millrace::jinja
