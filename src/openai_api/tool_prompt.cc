#include "openai_api/tool_prompt.h"

#include <utility>

#include "openai_api/json_fields.h"
#include "openai_api/translation.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::IsText;
using openai_internal::Json;
using openai_internal::MemberOf;

constexpr char kHowToCall[] =
    "You may call the functions below. To call one, answer with nothing but a JSON object "
    "{\"name\": its name, \"arguments\": an object of its arguments}; to call several, with an "
    "array of such objects. Where no call is needed, answer as usual.";

std::string Description(const Json& tools) {
  std::string text = kHowToCall;
  for (const Json& tool : tools) {
    const Json& function = MemberOf(tool, "function");
    Json shown;
    for (const char* name : {"name", "description", "parameters"}) {
      if (!MemberOf(function, name).is_null()) shown[name] = function[name];
    }
    text += "\n" + Dump(shown);
  }
  return text;
}

std::string TextIn(const Json& message) {
  return IsText(message, "content") ? message["content"].get<std::string>() : "";
}

// As the model is asked to write them.
std::string CallsAsText(const Json& calls) {
  Json written = Json::array();
  for (const Json& call : calls) {
    const Json& function = MemberOf(call, "function");
    Json arguments = MemberOf(function, "arguments");
    if (arguments.is_string()) {
      auto parsed = openai_internal::ParseJsonObject(arguments.get<std::string>());
      if (auto* object = std::get_if<Json>(&parsed)) arguments = std::move(*object);
    }
    if (arguments.is_null()) arguments = Json::object();
    Json one;
    one["name"] = MemberOf(function, "name");
    one["arguments"] = std::move(arguments);
    written.push_back(std::move(one));
  }
  return Dump(written.size() == 1 ? written[0] : written);
}

std::string ResultAsText(const Json& message) {
  const std::string name = IsText(message, "name") ? message["name"].get<std::string>() : "";
  return (name.empty() ? "The function answered:\n" : "The function " + name + " answered:\n") +
         TextIn(message);
}

void AddDescription(const std::string& text, bool takes_system, Json& messages) {
  const char* role = takes_system ? "system" : "user";
  if (!messages.empty() && MemberOf(messages[0], "role") == role) {
    const std::string own = TextIn(messages[0]);
    messages[0]["content"] =
        takes_system ? own + (own.empty() ? "" : "\n\n") + text : text + "\n\n" + own;
    return;
  }
  messages.insert(messages.begin(), openai_internal::ChatMessage(role, text));
}

}  // namespace

Result<std::string> ChatWithToolsAsText(std::string_view chat_json, const AnswerStyle& style) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(chat_json);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return Error{error->message};
  Json& chat = std::get<Json>(parsed);
  Json messages = Json::array();
  bool behind_result = false;  // what the user says next goes on in the same message
  for (Json& message : chat["messages"]) {
    const bool is_result = MemberOf(message, "role") == "tool";
    const bool is_user = MemberOf(message, "role") == "user";
    const Json& calls = MemberOf(message, "tool_calls");
    if (calls.is_array() && !calls.empty()) {
      const std::string own = TextIn(message);
      message["content"] = own + (own.empty() ? "" : "\n") + CallsAsText(calls);
      message.erase("tool_calls");
    }
    const std::string text = is_result ? ResultAsText(message) : TextIn(message);
    if (behind_result && (is_result || is_user)) {
      messages.back()["content"] = TextIn(messages.back()) + "\n\n" + text;
    } else if (is_result) {
      messages.push_back(openai_internal::ChatMessage("user", text));
    } else {
      messages.push_back(std::move(message));
    }
    behind_result = is_result || (behind_result && is_user);
  }
  if (const Json& tools = MemberOf(chat, "tools"); tools.is_array() && !tools.empty()) {
    AddDescription(Description(tools), style.takes_system, messages);
  }
  chat.erase("tools");
  chat["messages"] = std::move(messages);
  return Dump(chat);
}

}  // namespace millrace
