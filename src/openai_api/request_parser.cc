#include "openai_api/request_parser.h"

#include <fmt/format.h>

#include <utility>

#include "openai_api/field_tables.h"
#include "openai_api/generation_options.h"
#include "openai_api/json_fields.h"
#include "openai_api/passage_options.h"
#include "openai_api/tool_options.h"
#include "openai_api/translation.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Fields;
using openai_internal::Finish;
using openai_internal::Json;
using openai_internal::kMaxInt32;

bool IsRole(const std::string& role) {
  for (const char* known : {"system", "developer", "user", "assistant", "tool"}) {
    if (role == known) return true;
  }
  return false;
}

// Joins text parts to one string, in place. Nothing to do for a string or null.
void NormaliseContent(Fields& fields, const std::string& where, std::string_view role,
                      Json& content) {
  if (content.is_string() || content.is_null()) return;
  if (!content.is_array()) {
    fields.Fail(where, fmt::format("'{}' must be a string or an array of parts.", where),
                "invalid_type");
    return;
  }
  std::string joined;
  for (const Json& part : content) {
    if (!part.is_object() || !part.contains("type") || part["type"] != "text" ||
        !part.contains("text") || !part["text"].is_string()) {
      fields.Fail(
          where,
          fmt::format("'{}' supports only parts {{\"type\": \"text\", \"text\": ...}}.", where),
          "unsupported_parameter");
      return;
    }
    openai_internal::AddPart(role, part["text"].get_ref<const std::string&>(), joined);
  }
  content = std::move(joined);
}

Json ParseMessages(Fields& fields) {
  const Json* messages = fields.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    fields.Fail("messages", "'messages' must be an array of at least one message.",
                messages == nullptr ? "missing_required_parameter" : "invalid_type");
    return {};
  }
  Json out = *messages;
  for (size_t i = 0; i < out.size() && fields.ok(); ++i) {
    Json& message = out[i];
    const std::string where = fmt::format("messages[{}]", i);
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      fields.Fail(where, fmt::format("'{}' must be an object with a role.", where), "invalid_type");
      break;
    }
    const std::string role = message["role"];
    if (!IsRole(role)) {
      fields.Fail(where + ".role",
                  fmt::format("'{}.role' must be system, developer, user, "
                              "assistant or tool.",
                              where),
                  "invalid_value");
      break;
    }
    if (role == "developer") message["role"] = "system";  // templates know the older name
    const bool has_content = message.contains("content") && !message["content"].is_null();
    if (!has_content && role != "assistant") {
      fields.Fail(where + ".content", fmt::format("'{}.content' is missing.", where),
                  "missing_required_parameter");
      break;
    }
    if (has_content) NormaliseContent(fields, where + ".content", role, message["content"]);
    if (message.contains("tool_calls") && !message["tool_calls"].is_null() &&
        !message["tool_calls"].is_array()) {
      fields.Fail(where + ".tool_calls", "'tool_calls' must be an array.", "invalid_type");
    }
  }
  return out;
}

void ParseChatLogprobs(Fields& fields, GenerationOptions& options) {
  const bool wanted = fields.Bool("logprobs").value_or(false);
  const auto top = fields.Int("top_logprobs", 0, 20);
  if (top && *top > 0 && !wanted) {
    fields.Fail("top_logprobs", "'top_logprobs' is allowed only with 'logprobs': true.");
  }
  if (wanted) options.sampling.top_logprobs = static_cast<int32_t>(top.value_or(0));
}

// Variables for the template, beside those that the request's own fields make.
void ParseTemplateVariables(Fields& fields, Json& chat) {
  constexpr const char* kParam = "chat_template_kwargs";
  const Json* extra = fields.Find(kParam);
  if (extra == nullptr) return;
  if (!extra->is_object()) {
    return fields.Fail(kParam, "'chat_template_kwargs' must be an object.", "invalid_type");
  }
  for (const char* own :
       {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"}) {
    if (!extra->contains(own)) continue;
    fields.Fail(kParam,
                fmt::format("'chat_template_kwargs' may not set '{}': send it as a field of the "
                            "request's own, where there is one.",
                            own),
                "invalid_value");
  }
  chat[kParam] = *extra;
}

ChatRequest ReadChat(Fields& fields) {
  ChatRequest request;
  request.options = ParseOptions(fields);
  if (const auto max = fields.Int("max_completion_tokens", 1, kMaxInt32)) {
    request.options.max_tokens = static_cast<int32_t>(*max);
  }
  ParseChatLogprobs(fields, request.options);
  Json chat;
  chat["messages"] = ParseMessages(fields);
  CheckToolMessages(fields, chat["messages"], request);
  ParseTools(fields, chat, request);
  ParseReasoning(fields, chat, request);
  chat["add_generation_prompt"] = fields.Bool("add_generation_prompt").value_or(true);
  ParseTemplateVariables(fields, chat);
  if (const Json* suffix = fields.Find("suffix");
      suffix != nullptr && *suffix != "" && !(suffix->is_array() && suffix->empty())) {
    fields.Fail("suffix", "'suffix' belongs to /v1/completions: leave it out of a chat.",
                "unsupported_parameter");
  }
  ParsePassageOptions(fields, chat["messages"], request);
  if (fields.ok()) request.template_json = Dump(chat);
  return request;
}

}  // namespace

ApiResult<ChatRequest> ParseChatRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  return openai_internal::ParseChatObject(std::get<Json>(parsed), unknown);
}

ApiResult<ChatRequest> openai_internal::ParseChatObject(const Json& json, UnknownFields unknown) {
  Fields fields(json);
  ChatRequest request = ReadChat(fields);
  return Finish(fields, unknown, std::move(request));
}

openai_internal::FieldTable openai_internal::ChatFields() { return TableOf(ReadChat); }

}  // namespace millrace
