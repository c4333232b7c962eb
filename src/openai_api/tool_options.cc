#include "openai_api/tool_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "openai_api/translation.h"

namespace millrace::openai_internal {
namespace {

bool IsFunctionName(const std::string& name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kMaxFunctionName &&
         std::all_of(name.begin(), name.end(), good);
}

// {"type": "function", "function": {"name", "description", "parameters", "strict"}}
void ParseTool(Fields& fields, const Json& tool, const std::string& where, ToolRequest& tools) {
  const Json& function = MemberOf(tool, "function");
  if (MemberOf(tool, "type") != "function" || !function.is_object()) {
    return fields.Fail(
        where,
        fmt::format("'{}' must be {{\"type\": \"function\", \"function\": {{\"name\", "
                    "\"description\", \"parameters\"}}}}.",
                    where),
        "invalid_type");
  }
  const std::string in = where + ".function";
  const std::string name = IsText(function, "name") ? function["name"].get<std::string>() : "";
  if (!IsFunctionName(name)) {
    return fields.Fail(in + ".name",
                       fmt::format("'{}.name' must be of 1 to {} letters, digits, underscores and "
                                   "hyphens.",
                                   in, kMaxFunctionName),
                       name.empty() ? "missing_required_parameter" : "invalid_value");
  }
  for (const RequestedFunction& other : tools.functions) {
    if (other.function.name != name) continue;
    return fields.Fail(in + ".name",
                       fmt::format("'{}' is the name of two tools: rename one.", name),
                       "invalid_value");
  }
  const Json& parameters = MemberOf(function, "parameters");
  const Json& type = MemberOf(parameters, "type");
  if (!parameters.is_null() && (!parameters.is_object() || (!type.is_null() && type != "object"))) {
    return fields.Fail(in + ".parameters",
                       fmt::format("'{}.parameters' must be a JSON schema of type object.", in),
                       "invalid_value");
  }
  for (const auto& [member, is_right] :
       {std::pair("description",
                  MemberOf(function, "description").is_null() || IsText(function, "description")),
        std::pair("strict", MemberOf(function, "strict").is_null() ||
                                MemberOf(function, "strict").is_boolean())}) {
    if (is_right) continue;
    return fields.Fail(
        in + "." + member,
        fmt::format("'{}.{}' must be {}.", in, member,
                    member == std::string_view("strict") ? "true or false" : "a string"),
        "invalid_type");
  }
  if (Dump(function).size() > kMaxFunctionBytes) {
    return fields.Fail(where, fmt::format("'{}' has more than {} bytes: shorten its description or "
                                          "its schema.",
                                          where, kMaxFunctionBytes));
  }
  RequestedFunction requested;
  requested.function.name = name;
  if (!parameters.is_null()) requested.function.parameters = Dump(parameters);
  requested.function.strict = MemberOf(function, "strict") == true;
  requested.param = in + ".parameters";
  tools.functions.push_back(std::move(requested));
}

// Leaves only the named ones. Fails where there is no such tool.
void Keep(Fields& fields, const std::vector<std::string>& names, ToolRequest& tools) {
  std::vector<RequestedFunction> kept;
  for (const std::string& name : names) {
    const auto found =
        std::find_if(tools.functions.begin(), tools.functions.end(),
                     [&](const RequestedFunction& f) { return f.function.name == name; });
    if (found == tools.functions.end()) {
      return fields.Fail("tool_choice",
                         fmt::format("'tool_choice' names '{}', which is not among the tools.",
                                     name.substr(0, 100)),
                         "invalid_value");
    }
    kept.push_back(*found);
  }
  tools.functions = std::move(kept);
}

// The name in {"type": "function", "function": {"name"}} or {"type": "function", "name"}.
std::string NamedFunction(const Json& choice) {
  if (MemberOf(choice, "type") != "function") return {};
  const Json& holder = IsText(choice, "name") ? choice : MemberOf(choice, "function");
  return IsText(holder, "name") ? holder["name"].get<std::string>() : "";
}

// {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}, or with mode and tools beside
// type.
bool ParseAllowedTools(Fields& fields, const Json& choice, ToolRequest& tools) {
  if (MemberOf(choice, "type") != "allowed_tools") return false;
  const Json& inner = MemberOf(choice, "allowed_tools");
  const Json& allowed = inner.is_object() ? inner : choice;
  const Json& list = MemberOf(allowed, "tools");
  const Json& mode = MemberOf(allowed, "mode");
  if (!list.is_array() || list.empty() || (mode != "auto" && mode != "required")) return false;
  std::vector<std::string> names;
  for (const Json& tool : list) {
    names.push_back(NamedFunction(tool));
    if (names.back().empty()) return false;
  }
  tools.must_call = mode == "required";
  Keep(fields, names, tools);
  return true;
}

void ParseToolChoice(Fields& fields, ToolRequest& tools) {
  const Json* choice = fields.Find("tool_choice");
  if (choice == nullptr || *choice == "auto") return;
  if (*choice == "none") {
    tools.functions.clear();
    return;
  }
  const std::string named = NamedFunction(*choice);
  const bool known =
      *choice == "required" || !named.empty() || MemberOf(*choice, "type") == "allowed_tools";
  if (known && tools.functions.empty() && fields.ok()) {
    return fields.Fail("tool_choice", "'tool_choice' asks for a call, but there are no 'tools'.",
                       "invalid_value");
  }
  if (*choice == "required") {
    tools.must_call = true;
  } else if (!named.empty()) {
    tools.must_call = true;
    tools.parallel = false;
    Keep(fields, {named}, tools);
  } else if (!ParseAllowedTools(fields, *choice, tools)) {
    fields.Fail("tool_choice",
                "'tool_choice' must be \"auto\", \"none\", \"required\", {\"type\": \"function\", "
                "\"function\": {\"name\"}} or {\"type\": \"allowed_tools\", \"allowed_tools\": "
                "{\"mode\", \"tools\"}}.",
                "invalid_value");
  }
}

}  // namespace

void ParseTools(Fields& fields, Json& chat, ChatRequest& request) {
  ToolRequest& tools = request.tools;
  tools.parallel = fields.Bool("parallel_tool_calls").value_or(true);
  const Json* list = fields.Find("tools");
  if (list != nullptr && !list->is_array()) {
    fields.Fail("tools", "'tools' must be an array.", "invalid_type");
  } else if (list != nullptr && list->size() > kMaxTools) {
    fields.Fail("tools", fmt::format("'tools' holds {} tools, but at most {} are allowed.",
                                     list->size(), kMaxTools));
  }
  for (size_t i = 0; list != nullptr && fields.ok() && i < list->size(); ++i) {
    ParseTool(fields, (*list)[i], fmt::format("tools[{}]", i), tools);
  }
  ParseToolChoice(fields, tools);
  if (fields.ok() && !tools.functions.empty()) {
    chat["tools"] = *list;
    request.mentions_tools = true;
  }
}

void CheckToolMessages(Fields& fields, Json& messages, ChatRequest& request) {
  std::map<std::string, std::string> names;  // of calls, by their ids
  for (size_t i = 0; i < messages.size() && fields.ok(); ++i) {
    Json& message = messages[i];
    const std::string where = fmt::format("messages[{}]", i);
    const Json& calls = MemberOf(message, "tool_calls");
    for (size_t c = 0; calls.is_array() && c < calls.size(); ++c) {
      const Json& function = MemberOf(calls[c], "function");
      const Json& arguments = MemberOf(function, "arguments");
      if (!IsText(function, "name") ||
          !(arguments.is_null() || arguments.is_string() || arguments.is_object())) {
        const std::string at = fmt::format("{}.tool_calls[{}]", where, c);
        return fields.Fail(
            at,
            fmt::format("'{}' must be {{\"id\", \"type\": \"function\", \"function\": "
                        "{{\"name\", \"arguments\"}}}} with arguments as a JSON text.",
                        at),
            "invalid_type");
      }
      if (IsText(calls[c], "id")) names[calls[c]["id"]] = function["name"];
      request.mentions_tools = true;
    }
    if (message["role"] != "tool") continue;
    request.mentions_tools = true;
    const Json& id = MemberOf(message, "tool_call_id");
    if (!id.is_null() && !id.is_string()) {
      return fields.Fail(where + ".tool_call_id",
                         fmt::format("'{}.tool_call_id' must be a string.", where), "invalid_type");
    }
    const auto found = id.is_string() ? names.find(id.get<std::string>()) : names.end();
    if (found != names.end() && !message.contains("name")) message["name"] = found->second;
  }
}

void ParseReasoning(Fields& fields, Json& chat, ChatRequest& request) {
  if (const auto format = fields.String("reasoning_format")) {
    if (*format == "none") {
      request.reasoning = ReasoningFormat::kNone;
    } else if (*format == "deepseek") {
      request.reasoning = ReasoningFormat::kThink;
    } else if (*format != "auto") {
      fields.Fail("reasoning_format", "'reasoning_format' must be auto, none or deepseek.",
                  "invalid_value");
    }
  }
  if (const auto effort = fields.String("reasoning_effort")) {
    chat["reasoning_effort"] = *effort;
    if (*effort == "none") chat["enable_thinking"] = false;
  }
}

}  // namespace millrace::openai_internal
