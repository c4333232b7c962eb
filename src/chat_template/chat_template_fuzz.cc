// Any bytes as a template, over a small conversation: parsing and rendering must end, within their
// budgets.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "chat_template/chat_template.h"

namespace {

using millrace::jinja::Dict;
using millrace::jinja::Value;

Dict SmallContext() {
  Dict message;
  message.Set("role", Value::String("user"));
  message.Set("content", Value::String("Hello, \xC3\xBC"));
  Dict context;
  context.Set("messages", Value::List({Value::Map(message), Value::Map(message)}));
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
