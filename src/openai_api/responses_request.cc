// /v1/responses -> a chat.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "openai_api/field_tables.h"
#include "openai_api/translated_chat.h"
#include "openai_api/translation.h"

namespace millrace {
namespace {

using namespace openai_internal;

// What the chat does not get as it is.
constexpr std::string_view kTakenOfResponses[] = {"input",
                                                  "instructions",
                                                  "messages",
                                                  "max_output_tokens",
                                                  "max_tokens",
                                                  "max_completion_tokens",
                                                  "response_format",
                                                  "tools",
                                                  "tool_choice",
                                                  "text",
                                                  "include",
                                                  "top_logprobs",
                                                  "logprobs",
                                                  "store",
                                                  "metadata",
                                                  "reasoning",
                                                  "parallel_tool_calls",
                                                  "previous_response_id",
                                                  "conversation",
                                                  "prompt",
                                                  "background",
                                                  "truncation",
                                                  "stream_options",
                                                  "service_tier",
                                                  "safety_identifier",
                                                  "n",
                                                  "max_tool_calls",
                                                  "prompt_cache_retention"};
constexpr std::string_view kType[] = {"type"};

// What needs the responses of before, which are not kept, or the server's own decision to leave out
// a part of the input, which it never takes.
void RefuseStored(Fields& fields) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"}) {
    if (fields.Find(name) == nullptr) continue;
    fields.Fail(name,
                fmt::format("'{}' is not supported: this server stores nothing; send the whole "
                            "conversation as 'input'.",
                            name),
                "unsupported_parameter");
  }
  if (fields.Bool("background").value_or(false)) {
    fields.Fail("background", "'background' is not supported: leave it out and wait or stream.",
                "unsupported_parameter");
  }
  if (fields.String("truncation").value_or("disabled") != "disabled") {
    fields.Fail("truncation", "'truncation' must be \"disabled\": no input is ever shortened here.",
                "unsupported_parameter");
  }
  if (fields.Int("n", 1, kMaxChoices).value_or(1) != 1) {
    fields.Fail("n", "A response has one choice: leave 'n' out, or use /v1/chat/completions.",
                "unsupported_parameter");
  }
}

void TakeInputMessage(Fields& fields, const std::string& where, const Json& item, Json& messages) {
  std::string role = IsText(item, "role") ? item["role"].get<std::string>() : "";
  if (role != "user" && role != "assistant" && role != "system" && role != "developer") {
    fields.Fail(where + ".role",
                fmt::format("'{}.role' must be user, assistant, system or developer.", where),
                role.empty() ? "missing_required_parameter" : "invalid_value");
    return;
  }
  if (role == "developer") role = "system";
  Json text = TextOf(fields, where + ".content", MemberOf(item, "content"),
                     {"input_text", "output_text", "text"}, role);
  messages.push_back(ChatMessage(role, std::move(text)));
}

void TakeInputItem(Fields& fields, const std::string& where, const Json& item, Json& messages) {
  if (!item.is_object()) {
    return fields.Fail(where, fmt::format("'{}' must be an object.", where), "invalid_type");
  }
  const std::string type = IsText(item, "type") ? item["type"].get<std::string>() : "message";
  if (type == "message") return TakeInputMessage(fields, where, item, messages);
  if (type == "reasoning") return;  // of an answer before: templates leave it out, too
  if (type == "function_call") {
    for (const char* name : {"call_id", "name", "arguments"}) {
      if (IsText(item, name)) continue;
      return fields.Fail(where + "." + name, fmt::format("'{}.{}' must be a string.", where, name),
                         "missing_required_parameter");
    }
    return AddToolCall(messages, item["call_id"], item["name"], item["arguments"]);
  }
  if (type == "function_call_output") {
    if (!IsText(item, "call_id")) {
      return fields.Fail(where + ".call_id", fmt::format("'{}.call_id' must be a string.", where),
                         "missing_required_parameter");
    }
    Json message = ChatMessage("tool", TextOf(fields, where + ".output", MemberOf(item, "output"),
                                              {"input_text", "output_text", "text"}));
    message["tool_call_id"] = item["call_id"];
    messages.push_back(std::move(message));
    return;
  }
  fields.Fail(where + ".type",
              fmt::format("'{}.type' must be message, function_call, function_call_output or "
                          "reasoning.",
                          where),
              "unsupported_parameter");
}

Json InputMessages(Fields& fields) {
  Json messages = Json::array();
  if (const auto instructions = fields.String("instructions")) {
    messages.push_back(ChatMessage("system", *instructions));
  }
  const Json* input = fields.Find("input");
  if (input != nullptr && input->is_string()) {
    messages.push_back(ChatMessage("user", *input));
  } else if (input != nullptr && input->is_array() && !input->empty()) {
    for (size_t i = 0; i < input->size() && fields.ok(); ++i) {
      TakeInputItem(fields, fmt::format("input[{}]", i), (*input)[i], messages);
    }
  } else {
    fields.Fail("input", "'input' must be a string or an array of at least one item.",
                input == nullptr ? "missing_required_parameter" : "invalid_type");
  }
  return messages;
}

void TakeResponseTools(Fields& fields, Json& chat) {
  const Json* tools = fields.Find("tools");
  if (tools != nullptr && tools->is_array()) {
    chat["tools"] = Json::array();
    for (size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      if (MemberOf(tool, "type") != "function" || !IsText(tool, "name")) {
        const std::string where = fmt::format("tools[{}]", i);
        fields.Fail(where,
                    fmt::format("'{}' must be a function with a name: this server has no "
                                "tools of its own.",
                                where),
                    "unsupported_parameter");
        return;
      }
      chat["tools"].push_back(FunctionTool(tool["name"], MemberOf(tool, "description"),
                                           MemberOf(tool, "parameters"), MemberOf(tool, "strict")));
    }
  } else if (tools != nullptr) {
    chat["tools"] = *tools;  // the chat's parser says what is wrong
  }
  const Json* choice = fields.Find("tool_choice");
  if (choice == nullptr) return;
  chat["tool_choice"] = *choice;
  if (MemberOf(*choice, "type") == "function" && IsText(*choice, "name")) {
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", (*choice)["name"]}}}};
  }
}

// text.format -> response_format.
void TakeTextFormat(Fields& fields, Json& chat) {
  const Json* text = fields.Find("text");
  if (text == nullptr) return;
  if (!text->is_object()) {
    return fields.Fail("text", "'text' must be an object.", "invalid_type");
  }
  const Json& format = MemberOf(*text, "format");
  if (format.is_null()) return;
  if (MemberOf(format, "type") != "json_schema") {
    chat["response_format"] = format;
    return;
  }
  chat["response_format"] = {{"type", "json_schema"}, {"json_schema", FieldsBut(format, kType)}};
}

void TakeLogprobs(Fields& fields, Json& chat) {
  bool wanted = false;
  if (const Json* include = fields.Find("include")) {
    if (!include->is_array()) {
      return fields.Fail("include", "'include' must be an array of strings.", "invalid_type");
    }
    for (const Json& item : *include) wanted |= item == "message.output_text.logprobs";
  }
  const auto top = fields.Int("top_logprobs", 0, 20);
  if (!wanted && top.value_or(0) == 0) return;
  chat["logprobs"] = true;
  chat["top_logprobs"] = top.value_or(0);
}

// The fields of a response that repeat the request's, with OpenAI's defaults.
Json EchoOf(const Json& json, const ChatRequest& chat) {
  const auto given = [&json](const char* name, Json otherwise) {
    const Json& value = MemberOf(json, name);
    return value.is_null() ? otherwise : value;
  };
  Json echo;
  echo["instructions"] = given("instructions", nullptr);
  echo["max_output_tokens"] = given("max_output_tokens", nullptr);
  echo["metadata"] = given("metadata", Json::object());
  echo["parallel_tool_calls"] = given("parallel_tool_calls", true);
  echo["previous_response_id"] = nullptr;
  echo["reasoning"] = given("reasoning", {{"effort", nullptr}, {"summary", nullptr}});
  echo["store"] = false;  // whatever was asked
  echo["temperature"] = given("temperature", 1.0);
  echo["text"] = given("text", {{"format", {{"type", "text"}}}});
  echo["tool_choice"] = given("tool_choice", "auto");
  echo["tools"] = given("tools", Json::array());
  echo["top_logprobs"] = std::max(0, chat.options.sampling.top_logprobs);
  echo["top_p"] = given("top_p", 1.0);
  echo["truncation"] = "disabled";
  echo["user"] = given("user", nullptr);
  return echo;
}

void TakeReasoning(Fields& fields, Json& chat) {
  const Json* reasoning = fields.Find("reasoning");
  if (reasoning == nullptr) return;
  if (!reasoning->is_object()) {
    return fields.Fail("reasoning", "'reasoning' must be an object.", "invalid_type");
  }
  const Json& effort = MemberOf(*reasoning, "effort");
  if (effort.is_null()) return;
  if (!effort.is_string()) {
    return fields.Fail("reasoning.effort", "'reasoning.effort' must be a string.", "invalid_type");
  }
  chat["reasoning_effort"] = effort;
}

Json ReadResponses(Fields& fields, const Json& json) {
  RefuseChatNames(fields, {{"messages", "say 'input'"},
                           {"max_tokens", "say 'max_output_tokens'"},
                           {"max_completion_tokens", "say 'max_output_tokens'"},
                           {"response_format", "say 'text'"},
                           {"logprobs", "say 'include' and 'top_logprobs'"}});
  RefuseStored(fields);
  Json chat = FieldsBut(json, kTakenOfResponses);
  chat["messages"] = InputMessages(fields);
  if (const auto most = fields.Int("max_output_tokens", 1, INT32_MAX)) {
    chat["max_completion_tokens"] = *most;
  }
  TakeResponseTools(fields, chat);
  TakeTextFormat(fields, chat);
  TakeLogprobs(fields, chat);
  TakeReasoning(fields, chat);
  fields.Bool("store");
  if (!fields.Bool("parallel_tool_calls").value_or(true)) chat["parallel_tool_calls"] = false;
  for (const char* name : {"metadata", "service_tier", "safety_identifier", "stream_options",
                           "max_tool_calls", "prompt_cache_retention"}) {
    fields.Find(name);  // taken, and without effect
  }
  return chat;
}

}  // namespace

ApiResult<TranslatedChat> ParseResponsesRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  const Json& json = std::get<Json>(parsed);
  Fields fields(json);
  const Json chat = ReadResponses(fields, json);
  if (!fields.ok()) return fields.error();
  ApiResult<ChatRequest> request = ParseTranslated(chat, unknown);
  if (auto* error = std::get_if<ApiError>(&request)) return *error;
  auto& translated = std::get<ChatRequest>(request);
  Json echo = EchoOf(json, translated);
  return TranslatedChat{std::move(translated), MakeResponsesFormat(std::move(echo))};
}

ApiResult<std::string> ResponsesAsChat(std::string_view body) {
  ApiResult<Json> parsed = ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  const Json chat = ReadResponses(fields, std::get<Json>(parsed));
  if (!fields.ok()) return fields.error();
  return Dump(chat);
}

openai_internal::FieldTable openai_internal::ResponsesFields() {
  const auto read = [](Fields& fields) { ReadResponses(fields, Json::object()); };
  return WithChatFields(TableOf(read), kTakenOfResponses);
}

}  // namespace millrace
