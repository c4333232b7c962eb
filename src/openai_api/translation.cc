#include "openai_api/translation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "openai_api/field_tables.h"

namespace millrace::openai_internal {

ApiResult<ChatRequest> ParseTranslated(const Json& json, UnknownFields unknown) {
  ApiResult<ChatRequest> request = ParseChatObject(json, unknown);
  if (const auto* chat = std::get_if<ChatRequest>(&request)) {
    const ApiResult<Json> readable = ParseJsonObject(chat->template_json);
    if (const auto* error = std::get_if<ApiError>(&readable)) return *error;
  }
  return request;
}

Json FieldsBut(const Json& json, std::span<const std::string_view> names) {
  Json rest = Json::object();
  for (const auto& [name, value] : json.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) rest[name] = value;
  }
  return rest;
}

FieldTable WithChatFields(FieldTable own, std::span<const std::string_view> names) {
  for (const auto& [name, info] : ChatFields()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) own.try_emplace(name, info);
  }
  return own;
}

void RefuseChatNames(Fields& fields,
                     std::initializer_list<std::pair<const char*, const char*>> names) {
  for (const auto& [name, instead] : names) {
    if (!fields.Has(name)) continue;
    fields.Fail(name, fmt::format("'{}' is not a field of this route: {}.", name, instead),
                "unsupported_parameter");
  }
}

const Json& MemberOf(const Json& object, std::string_view name) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(std::string(name));
  return found == object.end() ? kNull : *found;
}

bool IsText(const Json& object, std::string_view name) {
  return MemberOf(object, name).is_string();
}

bool Has(const Json& block, const char* type) { return MemberOf(block, "type") == type; }

std::string TextOfPart(Fields& fields, const std::string& where, const Json& part,
                       std::initializer_list<std::string_view> types) {
  const bool known =
      IsText(part, "type") && std::find(types.begin(), types.end(), part["type"]) != types.end();
  if (known && IsText(part, "text")) return part["text"].get<std::string>();
  fields.Fail(where,
              fmt::format("'{}' must be a part {{\"type\": \"{}\", \"text\": ...}}: this server "
                          "takes text only.",
                          where, *types.begin()),
              "unsupported_parameter");
  return {};
}

void AddPart(std::string_view role, std::string_view part, std::string& text) {
  if (!text.empty() && role != "assistant") text += '\n';
  text += part;
}

std::string TextOf(Fields& fields, const std::string& where, const Json& content,
                   std::initializer_list<std::string_view> types, std::string_view role) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    fields.Fail(where, fmt::format("'{}' must be a string or an array of parts.", where),
                content.is_null() ? "missing_required_parameter" : "invalid_type");
    return {};
  }
  std::string text;
  for (size_t i = 0; i < content.size() && fields.ok(); ++i) {
    AddPart(role, TextOfPart(fields, fmt::format("{}[{}]", where, i), content[i], types), text);
  }
  return text;
}

Json ChatMessage(std::string_view role, Json content) {
  Json message;
  message["role"] = std::string(role);
  message["content"] = std::move(content);
  return message;
}

void AddToolCall(Json& messages, const std::string& id, const std::string& name,
                 const std::string& arguments) {
  if (messages.empty() || messages.back()["role"] != "assistant") {
    messages.push_back(ChatMessage("assistant", ""));
  }
  Json call;
  call["id"] = id;
  call["type"] = "function";
  call["function"] = {{"name", name}, {"arguments", arguments}};
  messages.back()["tool_calls"].push_back(std::move(call));
}

Json FunctionTool(const Json& name, const Json& description, const Json& parameters,
                  const Json& strict) {
  Json function;
  function["name"] = name;
  if (!description.is_null()) function["description"] = description;
  if (!parameters.is_null()) function["parameters"] = parameters;
  if (!strict.is_null()) function["strict"] = strict;
  Json tool;
  tool["type"] = "function";
  tool["function"] = std::move(function);
  return tool;
}

}  // namespace millrace::openai_internal
