// Any bytes as a request's body: a parser ends with a request within every stated range, or with an
// error that a client can read. The first byte chooses the parser and whether it is strict.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "openai_api/json_fields.h"
#include "openai_api/request_parser.h"
#include "openai_api/translated_chat.h"

namespace {

using namespace millrace;

constexpr int32_t kVocabulary = 1 << 30;  // logit_bias takes ids of up to nine digits

void CheckError(const ApiError& error) {
  CHECK(error.status == 400);
  CHECK(!error.message.empty() && error.message.size() < 4096 && error.param.size() < 4096);
  const auto readable = openai_internal::ParseJsonObject(ToJson(error));
  CHECK(std::holds_alternative<openai_internal::Json>(readable));
}

void CheckOptions(const GenerationOptions& options) {
  CHECK(Validate(options.sampling, kVocabulary).ok());
  CHECK(options.n >= 1 && options.n <= kMaxChoices);
  CHECK(!options.max_tokens || *options.max_tokens >= (options.echo ? 0 : 1));
  CHECK(options.stop.size() <= kMaxStopStrings);
  for (const std::string& stop : options.stop) CHECK(!stop.empty());
}

void Check(const ChatRequest& chat) {
  CheckOptions(chat.options);
  const auto json = openai_internal::ParseJsonObject(chat.template_json);
  CHECK(std::holds_alternative<openai_internal::Json>(json));
  CHECK(!std::get<openai_internal::Json>(json).at("messages").empty());
}

void Check(const TranslatedChat& translated) {
  Check(translated.chat);
  CHECK(translated.format != nullptr && translated.chat.options.n == 1);
}

void Check(const CompletionRequest& completion) {
  CheckOptions(completion.options);
  const size_t choices = completion.prompts.size() * static_cast<size_t>(completion.options.n);
  CHECK(choices >= 1 && choices <= kMaxPrompts);
}

void Check(const TokenizeRequest&) {}

void Check(const std::vector<TokenId>& tokens) {
  for (const TokenId token : tokens) CHECK(token.value >= 0);
}

template <class T>
void CheckResult(const ApiResult<T>& result) {
  if (const auto* error = std::get_if<ApiError>(&result)) {
    CheckError(*error);
  } else {
    Check(std::get<T>(result));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const UnknownFields unknown =
      (data[0] & 8) != 0 ? UnknownFields::kRefuse : UnknownFields::kIgnore;
  switch (data[0] & 7) {
    case 0:
      CheckResult(ParseChatRequest(body, unknown));
      break;
    case 1:
      CheckResult(ParseCompletionRequest(body, unknown));
      break;
    case 2:
      CheckResult(ParseTokenizeRequest(body));
      break;
    case 3:
      CheckResult(ParseResponsesRequest(body, unknown));
      break;
    case 4:
      CheckResult(ParseMessagesRequest(body, unknown));
      break;
    case 5:
      CheckResult(ParseCountTokensRequest(body, unknown));
      break;
    default:
      CheckResult(ParseDetokenizeRequest(body));
  }
  return 0;
}
