// Any bytes as a template, over a small conversation with a tool and a document: parsing and
// rendering must end, within their budgets.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "chat_template/chat_template.h"

namespace {

using millrace::jinja::Dict;
using millrace::jinja::Value;

Dict Message(const char* role, Value content) {
  Dict message;
  message.Set("role", Value::String(role));
  message.Set("content", std::move(content));
  return message;
}

// {"type": "function", "function": {"name": "f", KEY: {"a": {"type": "integer"}}}}
Value Function(const char* key) {
  Dict type, arguments, function, tool;
  type.Set("type", Value::String("integer"));
  arguments.Set("a", Value::Map(type));
  function.Set("name", Value::String("f"));
  function.Set(key, Value::Map(arguments));
  tool.Set("type", Value::String("function"));
  tool.Set("function", Value::Map(function));
  return Value::Map(tool);
}

Dict SmallContext() {
  Dict call = Message("assistant", Value::None());
  call.Set("tool_calls", Value::List({Function("arguments")}));
  const Dict messages[] = {Message("system", Value::String("Be brief.")),
                           Message("user", Value::String("Hello, \xC3\xBC")), call,
                           Message("tool", Value::String("7"))};
  std::vector<Value> list;
  for (const Dict& message : messages) list.push_back(Value::Map(message));
  Dict document, context;
  document.Set("title", Value::String("t"));
  document.Set("text", Value::String("One. Two."));
  context.Set("messages", Value::List(list));
  context.Set("tools", Value::List({Function("parameters")}));
  context.Set("documents", Value::List({Value::Map(document)}));
  context.Set("add_generation_prompt", Value::Bool(true));
  context.Set("bos_token", Value::String("<s>"));
  context.Set("n", Value::Int(3));
  context.Set("x", Value::Float(0.5));
  return context;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Dict context = SmallContext();
  const auto parsed = millrace::ChatTemplate::Parse({reinterpret_cast<const char*>(data), size});
  if (!parsed.ok()) return 0;
  millrace::RenderLimits limits;
  limits.max_steps = 20000;
  limits.max_output_bytes = 1 << 16;
  limits.max_allocated_bytes = 1 << 22;
  (void)parsed->Render(context, millrace::CivilTime{}, limits).ok();
  return 0;
}
