// The methods of Python's str, list, tuple and dict, and of Jinja's loop and cycler objects.
#pragma once

#include <span>
#include <string_view>

#include "chat_template/objects.h"

namespace millrace::jinja {

struct MethodEntry {
  std::string_view name;
  MethodFunction function;  // null: it would change the value, which the sandbox refuses
};

// The entry of value.name; null when the type has no such method.
const MethodEntry* FindMethod(const Value& value, std::string_view name);

std::span<const MethodEntry> StringMethods();      // methods_string.cc
std::span<const MethodEntry> StringTestMethods();  // methods_string_tests.cc

}  // namespace millrace::jinja
