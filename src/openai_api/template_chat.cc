#include "openai_api/template_chat.h"

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>
#include <utility>

#include "chat_template/chat_template.h"
#include "openai_api/json_fields.h"
#include "tokenizer/tokenizer.h"

namespace millrace {
namespace {

using jinja::Dict;
using jinja::Value;
using openai_internal::Json;

// The depth is bounded: ParseJson has refused deeper texts.
Value ToValue(const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::Int(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        return Value::Float(json.get<double>());
      }
      return Value::Int(json.get<int64_t>());
    case Json::value_t::number_float:
      return Value::Float(json.get<double>());
    case Json::value_t::string:
      return Value::String(json.get<std::string>());
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(ToValue(item));
      return Value::List(std::move(items));
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [name, value] : json.items()) dict.Set(name, ToValue(value));
      return Value::Map(std::move(dict));
    }
    default:
      return Value::None();
  }
}

CivilTime CurrentTime() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return {.year = parts.tm_year + 1900,
          .month = parts.tm_mon + 1,
          .day = parts.tm_mday,
          .hour = parts.tm_hour,
          .minute = parts.tm_min,
          .second = parts.tm_sec,
          .microsecond = 0};
}

void SetToken(Dict& context, const char* name, const Tokenizer& tokenizer,
              std::optional<TokenId> id) {
  const std::string text = id ? std::string(tokenizer.TokenText(*id)) : std::string();
  context.Set(name, Value::String(text));
}

// OpenAI gives the arguments of a tool call as a JSON text; templates want the object.
void ParseToolArguments(Json& messages) {
  for (Json& message : messages) {
    if (!message.is_object() || !message.contains("tool_calls")) continue;
    if (!message["tool_calls"].is_array()) continue;
    for (Json& call : message["tool_calls"]) {
      if (!call.is_object() || !call.contains("function") || !call["function"].is_object())
        continue;
      Json& function = call["function"];
      if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
      ApiResult<Json> parsed =
          openai_internal::ParseJsonObject(function["arguments"].get<std::string>());
      if (auto* object = std::get_if<Json>(&parsed)) function["arguments"] = std::move(*object);
    }
  }
}

bool IsNineCharacters(std::string_view id) {
  const auto is_alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return id.size() == 9 && std::all_of(id.begin(), id.end(), is_alphanumeric);
}

// The same for the same id, so that a chat's prefix stays what it was: its FNV-1a hash in base 36.
std::string ShortIdOf(std::string_view id) {
  if (IsNineCharacters(id)) return std::string(id);
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return NineCharactersOf(hash);
}

void ShortenCallIds(Json& messages) {
  const auto shorten = [](Json& of, const char* name) {
    if (!of.is_object() || !of.contains(name) || !of[name].is_string()) return;
    of[name] = ShortIdOf(of[name].get<std::string>());
  };
  for (Json& message : messages) {
    shorten(message, "tool_call_id");
    if (!message.is_object() || !message.contains("tool_calls")) continue;
    for (Json& call : message["tool_calls"]) shorten(call, "id");
  }
}

// Templates whose models are asked for calls in a form that answer_parts does not read: gpt-oss's
// channels, functions in tags whose arguments are none. They get their tools in words instead.
bool HasForeignToolFormat(std::string_view source, ToolFormat format) {
  const auto names = [&](std::string_view text) { return source.find(text) != source.npos; };
  return names("<|channel|>") || (names("<function=") && format != ToolFormat::kQwenCoder) ||
         (names("<arg_key>") && format != ToolFormat::kGlm);
}

// Whether a call of this id, and its result, are no error.
bool TakesCall(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
               const std::string& id) {
  Json call = {{"id", id}, {"type", "function"}};
  call["function"] = {{"name", "f"}, {"arguments", Json::object()}};
  Json chat;
  chat["messages"] = Json::array(
      {{{"role", "user"}, {"content", "hello"}},
       {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({std::move(call)})}},
       {{"role", "tool"}, {"tool_call_id", id}, {"content", "result"}}});
  return RenderChatJson(chat_template, tokenizer, openai_internal::Dump(chat)).ok();
}

}  // namespace

std::string NineCharactersOf(uint64_t number) {
  std::string id;
  for (int i = 0; i < 9; ++i, number /= 36) {
    id += "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
  }
  return id;
}

Result<std::string> RenderTurns(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                const std::vector<ChatTurn>& turns) {
  Json chat;
  chat["messages"] = Json::array();
  for (const ChatTurn& turn : turns) {
    Json message;
    message["role"] = turn.role;
    message["content"] = turn.content;
    chat["messages"].push_back(std::move(message));
  }
  chat["add_generation_prompt"] = true;
  return RenderChatJson(chat_template, tokenizer, openai_internal::Dump(chat));
}

Result<std::string> RenderChatJson(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                   std::string_view json, CallIds ids) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(json);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return Error{error->message};
  Json& chat = std::get<Json>(parsed);
  if (!chat.contains("messages") || !chat["messages"].is_array()) {
    return Error{"The chat has no array 'messages'."};
  }
  ParseToolArguments(chat["messages"]);
  if (ids == CallIds::kNineCharacters) ShortenCallIds(chat["messages"]);
  Dict context;
  SetToken(context, "bos_token", tokenizer, tokenizer.bos());
  SetToken(context, "eos_token", tokenizer, tokenizer.eos());
  context.Set("add_generation_prompt", Value::Bool(false));
  for (const auto& [name, value] : chat.items()) {
    if (name != "chat_template_kwargs" && name != "now") context.Set(name, ToValue(value));
  }
  if (chat.contains("chat_template_kwargs") && chat["chat_template_kwargs"].is_object()) {
    for (const auto& [name, value] : chat["chat_template_kwargs"].items()) {
      context.Set(name, ToValue(value));
    }
  }
  CivilTime now = CurrentTime();
  if (chat.contains("now") && !chat["now"].is_null()) {
    std::optional<CivilTime> given;
    if (chat["now"].is_string()) given = ParseCivilTime(chat["now"].get<std::string>());
    if (!given) return Error{"'now' must be a date such as 2026-11-23."};
    now = *given;
  }
  return chat_template.Render(context, now, RenderLimits());
}

AnswerStyle StyleOf(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                    std::string_view source) {
  AnswerStyle style = StyleOfTemplate(source);
  const std::string probe = "quartzvixen";
  const auto shows_probe = [&](const Json& chat) {
    const auto text = RenderChatJson(chat_template, tokenizer, openai_internal::Dump(chat));
    return text.ok() && text->find(probe) != std::string::npos;
  };
  const Json user = {{"role", "user"}, {"content", "hello"}};
  Json tool = {{"type", "function"}};
  tool["function"] = {{"name", probe},
                      {"description", "d"},
                      {"parameters", {{"type", "object"}, {"properties", Json::object()}}}};
  Json chat;
  chat["messages"] = Json::array({user});
  chat["tools"] = Json::array({tool});
  style.shows_tools = !HasForeignToolFormat(source, style.tools) && shows_probe(chat);
  if (!style.shows_tools) style.tools = ToolFormat::kJson;  // as tool_prompt.h asks for it
  chat.erase("tools");
  chat["messages"] = Json::array({{{"role", "system"}, {"content", probe}}, user});
  style.takes_system = shows_probe(chat);
  if (!TakesCall(chat_template, tokenizer, "call_1") &&
      TakesCall(chat_template, tokenizer, ShortIdOf("call_1"))) {
    style.call_ids = CallIds::kNineCharacters;
  }
  const ReasoningMarkers think = ThinkMarkers();
  if (!style.reasoning && tokenizer.FindToken(think.open) && tokenizer.FindToken(think.close)) {
    style.reasoning = think;
  }
  return style;
}

bool TakesDocuments(const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  const std::string probe = "quartzvixen";
  Json chat;
  chat["messages"] = Json::array({{{"role", "user"}, {"content", "hello"}}});
  chat["documents"] = Json::array({{{"doc_id", 1}, {"title", "title"}, {"text", probe}}});
  const auto text = RenderChatJson(chat_template, tokenizer, openai_internal::Dump(chat));
  return text.ok() && text->find(probe) != std::string::npos;
}

}  // namespace millrace
