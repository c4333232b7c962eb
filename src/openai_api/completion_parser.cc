// The bodies of completions, tokenize and detokenize.
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "openai_api/field_tables.h"
#include "openai_api/generation_options.h"
#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"
#include "openai_api/text_inputs.h"

namespace millrace {

using openai_internal::Fields;
using openai_internal::Finish;
using openai_internal::Json;
using openai_internal::ParseOptions;
using openai_internal::ParseTextInputs;
using openai_internal::TokenArray;

namespace {

// What stands around the completion: the prompt before it, where it is wanted again, and the text
// that is to follow.
void ParseAround(Fields& fields, CompletionRequest& request) {
  request.options.echo = fields.Bool("echo").value_or(false);
  request.suffix = fields.String("suffix").value_or("");
  if (request.options.echo && !request.suffix.empty()) {
    fields.Fail("echo", "'echo' and 'suffix' exclude each other: leave one out.", "invalid_value");
  }
  if (request.options.max_tokens == 0 && !request.options.echo) {
    fields.Fail("max_tokens", "'max_tokens' may be 0 only with 'echo': true.", "invalid_value");
  }
}

CompletionRequest ReadCompletion(Fields& fields) {
  CompletionRequest request;
  request.options = ParseOptions(fields, 0);
  if (!request.options.max_tokens) request.options.max_tokens = 16;  // OpenAI's default
  ParseTextInputs(fields, "prompt", request.prompts);
  if (request.prompts.size() * static_cast<size_t>(request.options.n) > kMaxPrompts) {
    fields.Fail("prompt", fmt::format("More than {} prompts times n are asked for.", kMaxPrompts));
  }
  ParseAround(fields, request);
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
  return request;
}

TokenizeRequest ReadTokenize(Fields& fields) {
  TokenizeRequest request;
  auto content = fields.String("content");
  auto prompt = fields.String("prompt");
  if (!content && !prompt) {
    fields.Fail("content", "'content' (or 'prompt') is missing.", "missing_required_parameter");
  }
  request.text = content ? *std::move(content) : std::move(prompt).value_or("");
  request.add_special = fields.Bool("add_special").value_or(true);
  request.parse_special = fields.Bool("parse_special").value_or(false);
  return request;
}

std::vector<TokenId> ReadDetokenize(Fields& fields) {
  const Json* tokens = fields.Find("tokens");
  std::optional<std::vector<TokenId>> ids;
  if (tokens != nullptr && tokens->is_array()) ids = TokenArray(*tokens);
  if (!ids) {
    fields.Fail("tokens", "'tokens' must be an array of token ids.",
                tokens == nullptr ? "missing_required_parameter" : "invalid_type");
  }
  return std::move(ids).value_or(std::vector<TokenId>());
}

}  // namespace

ApiResult<CompletionRequest> ParseCompletionRequest(std::string_view body, UnknownFields unknown) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  auto request = ReadCompletion(fields);
  return Finish(fields, unknown, std::move(request));
}

openai_internal::FieldTable openai_internal::CompletionFields() { return TableOf(ReadCompletion); }

ApiResult<TokenizeRequest> ParseTokenizeRequest(std::string_view body) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  auto request = ReadTokenize(fields);
  return Finish(fields, UnknownFields::kIgnore, std::move(request));
}

openai_internal::FieldTable openai_internal::TokenizeFields() { return TableOf(ReadTokenize); }

ApiResult<std::vector<TokenId>> ParseDetokenizeRequest(std::string_view body) {
  ApiResult<Json> parsed = openai_internal::ParseJsonObject(body);
  if (auto* error = std::get_if<ApiError>(&parsed)) return *error;
  Fields fields(std::get<Json>(parsed));
  auto request = ReadDetokenize(fields);
  return Finish(fields, UnknownFields::kIgnore, std::move(request));
}

openai_internal::FieldTable openai_internal::DetokenizeFields() { return TableOf(ReadDetokenize); }

}  // namespace millrace
