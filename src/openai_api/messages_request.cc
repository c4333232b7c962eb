// /v1/messages -> a chat.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "openai_api/document_blocks.h"
#include "openai_api/field_tables.h"
#include "openai_api/translated_chat.h"
#include "openai_api/translation.h"
#include "prompt_reduction/passage.h"

namespace millrace {
namespace {

using namespace openai_internal;

// What the chat does not get as it is.
constexpr std::string_view kTakenOfMessages[] = {"system",
                                                 "messages",
                                                 "stop_sequences",
                                                 "stop",
                                                 "tools",
                                                 "tool_choice",
                                                 "thinking",
                                                 "metadata",
                                                 "service_tier",
                                                 "max_tokens",
                                                 "max_completion_tokens",
                                                 "response_format",
                                                 "logprobs",
                                                 "n",
                                                 "output_config",
                                                 "output_format",
                                                 "container"};

enum class MaxTokens { kRequired, kOptional };

// A tool's documents are a part of what it says.
std::string ResultText(Fields& fields, const std::string& where, const Json& content) {
  if (content.is_null()) return "";
  if (!content.is_array()) return TextOf(fields, where, content, {"text"});
  std::string text;
  for (size_t i = 0; i < content.size() && fields.ok(); ++i) {
    const std::string at = fmt::format("{}[{}]", where, i);
    if (!IsDocumentBlock(content[i])) {
      AddPart("tool", TextOfPart(fields, at, content[i], {"text"}), text);
      continue;
    }
    const GivenDocument document = ReadDocumentBlock(fields, at, content[i]);
    AddPart("tool", TitledText(HeadOf(document), document.content.text), text);
  }
  return text;
}

// The answer to a tool call is a message of its own in a chat.
void TakeToolResult(Fields& fields, const std::string& where, const Json& block, Json& messages) {
  if (!IsText(block, "tool_use_id")) {
    return fields.Fail(where + ".tool_use_id",
                       fmt::format("'{}.tool_use_id' must be a string.", where),
                       "missing_required_parameter");
  }
  Json message =
      ChatMessage("tool", ResultText(fields, where + ".content", MemberOf(block, "content")));
  message["tool_call_id"] = block["tool_use_id"];
  messages.push_back(std::move(message));
}

void TakeToolUse(Fields& fields, const std::string& where, const Json& block, Json& messages) {
  if (!IsText(block, "id") || !IsText(block, "name") || !MemberOf(block, "input").is_object()) {
    return fields.Fail(where,
                       fmt::format("'{}' must have an id, a name and an object 'input'.", where),
                       "invalid_type");
  }
  AddToolCall(messages, block["id"], block["name"], Dump(block["input"]));
}

struct Turns {
  Json chat;
  std::string prefill;
  std::vector<GivenDocument> documents;
  int64_t search_results = 0, other_documents = 0;  // of them
};

void TakeDocument(Fields& fields, const std::string& where, const Json& block, Turns& turns) {
  if (turns.documents.size() == kMaxDocuments) {
    return fields.Fail(where, fmt::format("'{}' is one document too many: at most {} are allowed.",
                                          where, kMaxDocuments));
  }
  GivenDocument& document = turns.documents.emplace_back(ReadDocumentBlock(fields, where, block));
  const bool result = document.kind == GivenDocument::Kind::kSearchResult;
  document.index = result ? turns.search_results++ : turns.other_documents++;
}

// Text blocks that stand together become one message; documents are the chat's.
void TakeBlocks(Fields& fields, const std::string& where, const std::string& role,
                const Json& content, Turns& turns) {
  Json& messages = turns.chat["messages"];
  bool open = false;  // the last message is this one's text
  for (size_t i = 0; i < content.size() && fields.ok(); ++i) {
    const Json& block = content[i];
    const std::string at = fmt::format("{}[{}]", where, i);
    if (Has(block, "text") && IsText(block, "text")) {
      if (!open) messages.push_back(ChatMessage(role, ""));
      AddPart(role, block["text"].get_ref<const std::string&>(),
              messages.back()["content"].get_ref<std::string&>());
      open = true;
    } else if (IsDocumentBlock(block) && role == "user") {
      if (!open) messages.push_back(ChatMessage(role, ""));
      TakeDocument(fields, at, block, turns);
      open = true;
    } else if (Has(block, "tool_result") && role == "user") {
      TakeToolResult(fields, at, block, messages);
      open = false;
    } else if (Has(block, "tool_use") && role == "assistant") {
      TakeToolUse(fields, at, block, messages);
      open = true;
    } else if (!(Has(block, "thinking") || Has(block, "redacted_thinking")) ||
               role != "assistant") {
      // (Thinking of an answer before: templates leave it out, too.)
      fields.Fail(at,
                  fmt::format("'{}' must be a block of type text, or document, search_result or "
                              "tool_result of the user's, or tool_use or thinking of the "
                              "assistant's: this server takes text only.",
                              at),
                  "unsupported_parameter");
    }
  }
}

void TakeMessages(Fields& fields, Turns& turns) {
  Json& messages = turns.chat["messages"] = Json::array();
  if (const Json* system = fields.Find("system")) {
    messages.push_back(ChatMessage("system", TextOf(fields, "system", *system, {"text"})));
  }
  const Json* given = fields.Find("messages");
  if (given == nullptr || !given->is_array() || given->empty()) {
    return fields.Fail("messages", "'messages' must be an array of at least one message.",
                       given == nullptr ? "missing_required_parameter" : "invalid_type");
  }
  for (size_t i = 0; i < given->size() && fields.ok(); ++i) {
    const Json& turn = (*given)[i];
    const std::string where = fmt::format("messages[{}]", i);
    const Json& role = MemberOf(turn, "role");
    if (role != "user" && role != "assistant") {
      return fields.Fail(
          where + ".role",
          fmt::format(
              "'{}.role' must be user or assistant; the system prompt is the field 'system'.",
              where),
          "invalid_value");
    }
    const Json& content = MemberOf(turn, "content");
    if (content.is_array() && !content.empty()) {
      TakeBlocks(fields, where + ".content", role, content, turns);
    } else {
      messages.push_back(ChatMessage(role.get<std::string>(),
                                     TextOf(fields, where + ".content", content, {"text"})));
    }
  }
  if (turns.documents.empty()) return;
  if (turns.chat.contains("documents")) {
    return fields.Fail("documents",
                       "'documents' is allowed only without blocks of type document or "
                       "search_result.");
  }
  for (const GivenDocument& document : turns.documents) {
    turns.chat["documents"].push_back(ChatDocument(document));
  }
}

void TakeMessageTools(Fields& fields, Json& chat) {
  if (const Json* tools = fields.Find("tools")) {
    if (!tools->is_array())
      return fields.Fail("tools", "'tools' must be an array.", "invalid_type");
    chat["tools"] = Json::array();
    for (size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      const std::string where = fmt::format("tools[{}]", i);
      const Json& type = MemberOf(tool, "type");
      if (!IsText(tool, "name") || (!type.is_null() && type != "custom")) {
        return fields.Fail(where,
                           fmt::format("'{}' must have a name and an input_schema: this server has "
                                       "no tools of its own.",
                                       where),
                           "unsupported_parameter");
      }
      chat["tools"].push_back(FunctionTool(tool["name"], MemberOf(tool, "description"),
                                           MemberOf(tool, "input_schema"),
                                           MemberOf(tool, "strict")));
    }
  }
  const Json* choice = fields.Find("tool_choice");
  if (choice == nullptr) return;
  if (MemberOf(*choice, "disable_parallel_tool_use") == true) chat["parallel_tool_calls"] = false;
  if (Has(*choice, "auto") || Has(*choice, "none")) {
    chat["tool_choice"] = (*choice)["type"];
  } else if (Has(*choice, "any")) {
    chat["tool_choice"] = "required";
  } else if (Has(*choice, "tool") && IsText(*choice, "name")) {
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", (*choice)["name"]}}}};
  } else {
    fields.Fail("tool_choice",
                "'tool_choice' must be of type auto, any, none, or tool with a name.",
                "invalid_value");
  }
}

void TakeStopSequences(Fields& fields, Json& chat) {
  const Json* stops = fields.Find("stop_sequences");
  if (stops == nullptr) return;
  const auto wrong = [](const Json& stop) {
    return !stop.is_string() || stop.get_ref<const std::string&>().empty();
  };
  if (!stops->is_array() || stops->size() > kMaxStopStrings ||
      std::any_of(stops->begin(), stops->end(), wrong)) {
    return fields.Fail("stop_sequences",
                       fmt::format("'stop_sequences' must be an array of up to {} strings, none of "
                                   "them empty.",
                                   kMaxStopStrings),
                       "invalid_value");
  }
  chat["stop"] = *stops;
}

// {"type": "enabled"} or "disabled" is what templates of models that think call enable_thinking.
void TakeThinking(Fields& fields, Json& chat) {
  const Json* thinking = fields.Find("thinking");
  if (thinking == nullptr) return;
  if (!Has(*thinking, "enabled") && !Has(*thinking, "disabled") && !Has(*thinking, "adaptive")) {
    return fields.Fail("thinking", "'thinking' must be of type enabled, disabled or adaptive.",
                       "invalid_value");
  }
  if (!Has(*thinking, "adaptive"))
    chat["chat_template_kwargs"]["enable_thinking"] = Has(*thinking, "enabled");
}

// output_config.format (output_format, as it was called before) -> response_format.
void TakeOutputFormat(Fields& fields, Json& chat) {
  const Json* config = fields.Find("output_config");
  const Json* older = fields.Find("output_format");
  if (config != nullptr && !config->is_object()) {
    return fields.Fail("output_config", "'output_config' must be an object.", "invalid_type");
  }
  const bool has_config = config != nullptr && !MemberOf(*config, "format").is_null();
  const Json format =
      has_config ? MemberOf(*config, "format") : (older != nullptr ? *older : Json());
  if (format.is_null()) return;
  const std::string where = has_config ? "output_config.format" : "output_format";
  if (!Has(format, "json_schema") || !MemberOf(format, "schema").is_object()) {
    return fields.Fail(
        where, fmt::format("'{}' must be of type json_schema, with an object 'schema'.", where),
        "invalid_value");
  }
  chat["response_format"] = {
      {"type", "json_schema"},
      {"json_schema", {{"name", "output"}, {"strict", true}, {"schema", format["schema"]}}}};
}

Turns ReadTurns(Fields& fields, const Json& json, MaxTokens max_tokens) {
  RefuseChatNames(fields, {{"stop", "say 'stop_sequences'"},
                           {"max_completion_tokens", "say 'max_tokens'"},
                           {"response_format", "say 'output_config'"},
                           {"logprobs", "use /v1/chat/completions"},
                           {"n", "an answer has one choice"}});
  Turns turns;
  Json& chat = turns.chat;
  chat = FieldsBut(json, kTakenOfMessages);
  TakeMessages(fields, turns);
  const auto most = fields.Int("max_tokens", 1, INT32_MAX);
  if (most) {
    chat["max_tokens"] = *most;
  } else if (max_tokens == MaxTokens::kRequired) {
    fields.Fail("max_tokens", "'max_tokens' is missing: say how many tokens the answer may have.",
                "missing_required_parameter");
  }
  TakeMessageTools(fields, chat);
  TakeStopSequences(fields, chat);
  TakeThinking(fields, chat);
  TakeOutputFormat(fields, chat);
  for (const char* name : {"metadata", "service_tier", "container"}) {
    fields.Find(name);  // taken, and without effect
  }
  if (!fields.ok()) return turns;
  Json& messages = chat["messages"];
  if (!messages.empty() && messages.back()["role"] == "assistant" &&
      !messages.back().contains("tool_calls")) {
    turns.prefill = messages.back()["content"];
    messages.erase(messages.size() - 1);
  }
  if (messages.empty()) {  // or all of them were of thinking alone
    fields.Fail("messages", "'messages' must hold a message of the user's.", "invalid_value");
  }
  return turns;
}

ApiResult<Turns> TurnsOf(std::string_view body, MaxTokens max_tokens) {
  ApiResult<Json> parsed = ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  const Json& json = std::get<Json>(parsed);
  Fields fields(json);
  Turns turns = ReadTurns(fields, json, max_tokens);
  if (!fields.ok()) return fields.error();
  return turns;
}

ApiResult<ChatRequest> ParseTurns(std::string_view body, UnknownFields unknown,
                                  MaxTokens max_tokens, std::vector<GivenDocument>* documents) {
  ApiResult<Turns> read = TurnsOf(body, max_tokens);
  if (auto* error = std::get_if<ApiError>(&read)) return *error;
  Turns& turns = std::get<Turns>(read);
  ApiResult<ChatRequest> request = ParseTranslated(turns.chat, unknown);
  if (auto* chat = std::get_if<ChatRequest>(&request)) chat->prefill = std::move(turns.prefill);
  if (documents != nullptr) *documents = std::move(turns.documents);
  return request;
}

}  // namespace

ApiResult<TranslatedChat> ParseMessagesRequest(std::string_view body, UnknownFields unknown) {
  std::vector<GivenDocument> documents;
  ApiResult<ChatRequest> request = ParseTurns(body, unknown, MaxTokens::kRequired, &documents);
  if (auto* error = std::get_if<ApiError>(&request)) return *error;
  return TranslatedChat{std::get<ChatRequest>(std::move(request)),
                        MakeMessagesFormat(CitedDocuments(std::move(documents)))};
}

ApiResult<ChatRequest> ParseCountTokensRequest(std::string_view body, UnknownFields unknown) {
  return ParseTurns(body, unknown, MaxTokens::kOptional, nullptr);
}

ApiResult<std::string> MessagesAsChat(std::string_view body) {
  ApiResult<Turns> turns = TurnsOf(body, MaxTokens::kOptional);
  if (auto* error = std::get_if<ApiError>(&turns)) return *error;
  return Dump(std::get<Turns>(turns).chat);
}

openai_internal::FieldTable openai_internal::MessagesFields() {
  const auto read = [](Fields& fields) { ReadTurns(fields, Json::object(), MaxTokens::kOptional); };
  return WithChatFields(TableOf(read), kTakenOfMessages);
}

}  // namespace millrace
