// json.dumps(value, ensure_ascii=False, ...), as transformers' tojson filter calls it.
#pragma once

#include <optional>
#include <string>

#include "chat_template/interpreter.h"

namespace millrace::jinja {

struct JsonStyle {
  std::optional<int64_t> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

void AppendJson(Interpreter& interpreter, const Value& value, const JsonStyle& style, int level,
                std::string& out);

}  // namespace millrace::jinja
