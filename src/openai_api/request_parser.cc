#include "openai_api/request_parser.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "openai_api/cache_options.h"
#include "openai_api/json_fields.h"
#include "openai_api/passage_options.h"
#include "openai_api/schedule_options.h"
#include "openai_api/speculation_options.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Fields;
using openai_internal::Json;

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

std::optional<int32_t> TokenNumber(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kMaxInt32)) {
    return std::nullopt;
  }
  const auto number = value.get<int64_t>();
  if (number < 0 || number > kMaxInt32) return std::nullopt;
  return static_cast<int32_t>(number);
}

void ParseStop(Fields& fields, GenerationOptions& options) {
  const Json* stop = fields.Find("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    options.stop.push_back(stop->get<std::string>());
  } else if (stop->is_array()) {
    if (stop->size() > kMaxStopStrings) {
      fields.Fail("stop", fmt::format("'stop' holds {} strings, but at most {} are allowed.",
                                      stop->size(), kMaxStopStrings));
      return;
    }
    for (const Json& item : *stop) {
      if (!item.is_string()) {
        fields.Fail("stop", "'stop' must be a string or an array of strings.", "invalid_type");
        return;
      }
      options.stop.push_back(item.get<std::string>());
    }
  } else {
    fields.Fail("stop", "'stop' must be a string or an array of strings.", "invalid_type");
  }
  for (const std::string& text : options.stop) {
    if (text.empty()) fields.Fail("stop", "'stop' holds an empty string.", "invalid_value");
    if (text.size() > 1024) fields.Fail("stop", "A stop string is longer than 1024 bytes.");
  }
}

void ParseLogitBias(Fields& fields, GenerationOptions& options) {
  const Json* bias = fields.Find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) {
    fields.Fail("logit_bias", "'logit_bias' must be an object from token id to number.",
                "invalid_type");
    return;
  }
  for (const auto& [name, value] : bias->items()) {
    int64_t id = 0;
    const bool digits = !name.empty() && name.size() <= 9 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    if (digits) id = std::stoll(name);
    const double amount = value.is_number() ? value.get<double>() : 1000.0;
    if (!digits || !(amount >= -100.0 && amount <= 100.0)) {
      fields.Fail("logit_bias",
                  "'logit_bias' must map token ids to numbers from -100 to 100; see '" +
                      name.substr(0, 40) + "'.",
                  "invalid_value");
      return;
    }
    options.sampling.logit_bias.emplace_back(TokenId(static_cast<int32_t>(id)),
                                             static_cast<float>(amount));
  }
}

void ParseStream(Fields& fields, GenerationOptions& options) {
  options.stream = fields.Bool("stream").value_or(false);
  const Json* stream_options = fields.Find("stream_options");
  if (stream_options == nullptr) return;
  if (!stream_options->is_object()) {
    fields.Fail("stream_options", "'stream_options' must be an object.", "invalid_type");
  } else if (!options.stream) {
    fields.Fail("stream_options", "'stream_options' is allowed only with 'stream': true.");
  } else if (const auto found = stream_options->find("include_usage");
             found != stream_options->end() && !found->is_null()) {
    if (found->is_boolean()) {
      options.include_usage = found->get<bool>();
    } else {
      fields.Fail("stream_options.include_usage", "'include_usage' must be true or false.",
                  "invalid_type");
    }
  }
}

// Known to the design, not done by this server: ignoring them would give a wrong answer silently.
void RefuseUnsupported(Fields& fields) {
  for (const char* name : {"grammar", "suffix", "functions", "function_call"}) {
    const Json* value = fields.Find(name);
    if (value == nullptr || *value == "" || (value->is_array() && value->empty())) continue;
    fields.Fail(name, fmt::format("'{}' is not supported by this server: leave it out.", name),
                "unsupported_parameter");
  }
  if (const Json* format = fields.Find("response_format")) {
    const bool text =
        format->is_object() && format->contains("type") && (*format)["type"] == "text";
    if (!text) {
      fields.Fail("response_format", "'response_format' supports only {\"type\": \"text\"} here.",
                  "unsupported_parameter");
    }
  }
  if (const Json* choice = fields.Find("tool_choice")) {
    if (*choice != "auto" && *choice != "none") {
      fields.Fail("tool_choice", "'tool_choice' supports only \"auto\" and \"none\" here.",
                  "unsupported_parameter");
    }
  }
}

GenerationOptions ParseOptions(Fields& fields) {
  GenerationOptions options;
  SamplingParams& sampling = options.sampling;
  const auto set = [&](float& target, const char* name, double low, double high) {
    if (const auto value = fields.Number(name, low, high)) target = static_cast<float>(*value);
  };
  options.model = fields.String("model").value_or("");
  set(sampling.temperature, "temperature", 0.0, 2.0);
  set(sampling.top_p, "top_p", 0.0, 1.0);
  if (sampling.top_p == 0.0f) sampling.top_k = 1;  // the most likely token alone, as elsewhere
  if (sampling.top_p == 0.0f) sampling.top_p = 1.0f;
  set(sampling.min_p, "min_p", 0.0, 0.9999);
  set(sampling.presence_penalty, "presence_penalty", -2.0, 2.0);
  set(sampling.frequency_penalty, "frequency_penalty", -2.0, 2.0);
  set(sampling.repetition_penalty, "repetition_penalty", 0.01, 100.0);
  if (const auto top_k = fields.Int("top_k", -1, kMaxInt32)) {
    if (sampling.top_k != 1) sampling.top_k = static_cast<int32_t>(std::max<int64_t>(*top_k, 0));
  }
  if (const auto seed = fields.Int("seed", std::numeric_limits<int64_t>::min(),
                                   std::numeric_limits<int64_t>::max())) {
    sampling.seed = static_cast<uint64_t>(*seed);
    options.has_seed = true;
  }
  options.n = static_cast<int>(fields.Int("n", 1, kMaxChoices).value_or(1));
  options.ignore_eos = fields.Bool("ignore_eos").value_or(false);
  if (const auto max = fields.Int("max_tokens", 1, kMaxInt32)) {
    options.max_tokens = static_cast<int32_t>(*max);
  }
  ParseStop(fields, options);
  ParseLogitBias(fields, options);
  ParseStream(fields, options);
  RefuseUnsupported(fields);
  ParseCacheOptions(fields, options);
  ParseScheduleOptions(fields, options);
  ParseSpeculationOptions(fields, options);
  fields.String("user");
  fields.String("prompt_cache_key");  // a hint
  return options;
}

bool IsRole(const std::string& role) {
  for (const char* known : {"system", "developer", "user", "assistant", "tool"}) {
    if (role == known) return true;
  }
  return false;
}

// Joins text parts to one string, in place. Nothing to do for a string or null.
void NormaliseContent(Fields& fields, const std::string& where, Json& content) {
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
    joined += part["text"].get<std::string>();
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
    if (has_content) NormaliseContent(fields, where + ".content", message["content"]);
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

// The tools go to the template as they are, unless the client wants none used.
void ParseTools(Fields& fields, Json& chat) {
  const Json* tools = fields.Find("tools");
  if (tools != nullptr && !tools->is_array()) {
    fields.Fail("tools", "'tools' must be an array.", "invalid_type");
  }
  for (size_t i = 0; tools != nullptr && fields.ok() && i < tools->size(); ++i) {
    if ((*tools)[i].is_object()) continue;
    fields.Fail("tools", fmt::format("'tools[{}]' must be an object.", i), "invalid_type");
  }
  const Json* choice = fields.Find("tool_choice");
  const bool none = choice != nullptr && *choice == "none";
  if (fields.ok() && tools != nullptr && !tools->empty() && !none) chat["tools"] = *tools;
}

template <class T>
ApiResult<T> Finish(Fields& fields, UnknownFields unknown, T value) {
  if (unknown == UnknownFields::kRefuse) fields.RefuseOthers();
  if (!fields.ok()) return fields.error();
  return value;
}

std::optional<std::vector<TokenId>> TokenArray(const Json& array) {
  std::vector<TokenId> tokens;
  for (const Json& item : array) {
    const auto number = TokenNumber(item);
    if (!number) return std::nullopt;
    tokens.push_back(TokenId(*number));
  }
  return tokens;
}

void ParsePrompts(Fields& fields, std::vector<Prompt>& prompts) {
  const Json* prompt = fields.Find("prompt");
  const auto wrong = [&] {
    fields.Fail("prompt",
                "'prompt' must be a string, an array of strings, an array of token ids, "
                "or an array of such arrays, and not empty.",
                prompt == nullptr ? "missing_required_parameter" : "invalid_type");
  };
  if (prompt == nullptr) return wrong();
  if (prompt->is_string()) {
    prompts.emplace_back(prompt->get<std::string>());
    return;
  }
  if (!prompt->is_array() || prompt->empty()) return wrong();
  if (prompt->front().is_number()) {
    auto tokens = TokenArray(*prompt);
    if (!tokens) return wrong();
    prompts.emplace_back(*std::move(tokens));
    return;
  }
  for (const Json& item : *prompt) {
    if (item.is_string()) {
      prompts.emplace_back(item.get<std::string>());
    } else if (item.is_array() && !item.empty()) {
      auto tokens = TokenArray(item);
      if (!tokens) return wrong();
      prompts.emplace_back(*std::move(tokens));
    } else {
      return wrong();
    }
  }
}

}  // namespace

ApiResult<ChatRequest> ParseChatRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  const Json& json = std::get<Json>(parsed);
  Fields fields(json);
  ChatRequest request;
  request.options = ParseOptions(fields);
  if (const auto max = fields.Int("max_completion_tokens", 1, kMaxInt32)) {
    request.options.max_tokens = static_cast<int32_t>(*max);
  }
  ParseChatLogprobs(fields, request.options);
  Json chat;
  chat["messages"] = ParseMessages(fields);
  ParseTools(fields, chat);
  chat["add_generation_prompt"] = fields.Bool("add_generation_prompt").value_or(true);
  if (const Json* extra = fields.Find("chat_template_kwargs")) {
    if (!extra->is_object()) {
      fields.Fail("chat_template_kwargs", "'chat_template_kwargs' must be an object.",
                  "invalid_type");
    }
    chat["chat_template_kwargs"] = *extra;
  }
  ParsePassageOptions(fields, chat["messages"], request);
  if (fields.ok()) request.template_json = Dump(chat);
  return Finish(fields, unknown, std::move(request));
}

ApiResult<CompletionRequest> ParseCompletionRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  const Json& json = std::get<Json>(parsed);
  Fields fields(json);
  CompletionRequest request;
  request.options = ParseOptions(fields);
  if (!request.options.max_tokens) request.options.max_tokens = 16;  // OpenAI's default
  ParsePrompts(fields, request.prompts);
  if (request.prompts.size() * static_cast<size_t>(request.options.n) > kMaxPrompts) {
    fields.Fail("prompt", fmt::format("More than {} prompts times n are asked for.", kMaxPrompts));
  }
  if (fields.Bool("echo").value_or(false)) {
    fields.Fail("echo", "'echo' is not supported by this server: leave it out.",
                "unsupported_parameter");
  }
  if (const Json* documents = fields.Find("documents"); documents && !documents->empty()) {
    fields.Fail("documents", "'documents' belong to a chat: use /v1/chat/completions.",
                "unsupported_parameter");
  }
  if (const auto best_of = fields.Int("best_of", 1, 20); best_of && *best_of != request.options.n) {
    fields.Fail("best_of", "'best_of' is supported only when it equals 'n'.",
                "unsupported_parameter");
  }
  if (const auto logprobs = fields.Int("logprobs", 0, 20)) {
    request.options.sampling.top_logprobs = static_cast<int32_t>(*logprobs);
  }
  return Finish(fields, unknown, std::move(request));
}

ApiResult<TokenizeRequest> ParseTokenizeRequest(std::string_view body) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  const Json& json = std::get<Json>(parsed);
  Fields fields(json);
  TokenizeRequest request;
  auto content = fields.String("content");
  auto prompt = fields.String("prompt");
  if (!content && !prompt) {
    fields.Fail("content", "'content' (or 'prompt') is missing.", "missing_required_parameter");
  }
  request.text = content ? *std::move(content) : std::move(prompt).value_or("");
  request.add_special = fields.Bool("add_special").value_or(true);
  request.parse_special = fields.Bool("parse_special").value_or(false);
  return Finish(fields, UnknownFields::kIgnore, std::move(request));
}

ApiResult<std::vector<TokenId>> ParseDetokenizeRequest(std::string_view body) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  const Json& json = std::get<Json>(parsed);
  Fields fields(json);
  const Json* tokens = fields.Find("tokens");
  std::optional<std::vector<TokenId>> ids;
  if (tokens != nullptr && tokens->is_array()) ids = TokenArray(*tokens);
  if (!ids) {
    fields.Fail("tokens", "'tokens' must be an array of token ids.",
                tokens == nullptr ? "missing_required_parameter" : "invalid_type");
  }
  return Finish(fields, UnknownFields::kIgnore, std::move(ids).value_or(std::vector<TokenId>()));
}

}  // namespace millrace
