#include "chat_template/chat_template.h"

#include <string>
#include <utility>

#include "chat_template/failure.h"
#include "chat_template/interpreter.h"
#include "chat_template/parser.h"

namespace millrace {

Result<ChatTemplate> ChatTemplate::Parse(std::string_view source) {
  if (source.size() > kMaxTemplateBytes) {
    return Error{"chat template: the source has " + std::to_string(source.size()) +
                     " bytes, but at most " + std::to_string(kMaxTemplateBytes) + " are taken",
                 ErrorKind::kTooLarge};
  }
  try {
    return ChatTemplate(jinja::ParseTemplate(source));
  } catch (jinja::Failure& failure) {
    return Error{"chat template: " + failure.message, failure.kind};
  }
}

Result<std::string> ChatTemplate::Render(const jinja::Dict& context,
                                         const std::optional<CivilTime>& now,
                                         const RenderLimits& limits) const {
  int line = 0;
  try {
    jinja::Dict variables = context;
    if (now) {
      variables.Set("strftime_now", jinja::Value::FromObject(std::make_shared<jinja::Object>(
                                        jinja::Object{jinja::StrftimeObject{*now}})));
    }
    jinja::Interpreter interpreter(*parsed_, variables, limits);
    try {
      return interpreter.Run();
    } catch (jinja::Failure&) {
      line = interpreter.line();
      throw;
    }
  } catch (jinja::Failure& failure) {
    if (failure.verbatim) return Error{failure.message, failure.kind};
    return Error{"chat template, line " + std::to_string(line) + ": " + failure.message,
                 failure.kind};
  }
}

}  // namespace millrace
