// A chat's answer as Anthropic's Messages write it.
#include <algorithm>
#include <utility>

#include "openai_api/response_json.h"
#include "openai_api/translated_chat.h"
#include "openai_api/translation.h"

namespace millrace {
namespace openai_internal {
namespace {

// The names of errors by their status (docs.anthropic.com/en/api/errors).
const char* ErrorTypeOf(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

Json ErrorObject(const ApiError& error) {
  return {{"type", "error"},
          {"error", {{"type", ErrorTypeOf(error.status)}, {"message", error.message}}}};
}

class MessagesFormat : public AnswerFormat {
 public:
  std::string_view IdPrefix() const override { return "msg_"; }

  std::string Whole(const ResponseHead& head, std::span<const ChoiceText> choices,
                    const Usage& usage) override {
    const ChoiceText& choice = choices.front();
    Json message = Message(head);
    message["content"].push_back({{"type", "text"}, {"text", choice.text}});
    SetStop(choice, message);
    message["usage"] = UsageOf(head, usage);
    return Dump(message);
  }

  std::vector<StreamEvent> Begin(const ResponseHead& head, size_t, const Usage& usage) override {
    Json message = Message(head);
    message["usage"] = {{"input_tokens", usage.prompt_tokens}, {"output_tokens", 0}};
    std::vector<StreamEvent> events;
    Add(events, "message_start", {{"message", std::move(message)}});
    Add(events, "content_block_start",
        {{"index", 0}, {"content_block", {{"type", "text"}, {"text", ""}}}});
    return events;
  }

  std::vector<StreamEvent> Delta(const ResponseHead&, const ChoiceText& delta) override {
    std::vector<StreamEvent> events;
    if (!delta.text.empty()) {
      Add(events, "content_block_delta",
          {{"index", 0}, {"delta", {{"type", "text_delta"}, {"text", delta.text}}}});
    }
    if (!delta.finish_reason.empty()) SetStop(delta, stop_);
    return events;
  }

  std::vector<StreamEvent> End(const ResponseHead& head, const Usage& usage) override {
    std::vector<StreamEvent> events;
    Add(events, "content_block_stop", {{"index", 0}});
    Add(events, "message_delta", {{"delta", stop_}, {"usage", UsageOf(head, usage)}});
    Add(events, "message_stop", Json::object());
    return events;
  }

  StreamEvent Failure(const ResponseHead&, const ApiError& error) override {
    return {"error", Dump(ErrorObject(error))};
  }

 private:
  static Json Message(const ResponseHead& head) {
    return {{"id", head.id},           {"type", "message"},        {"role", "assistant"},
            {"model", head.model},     {"content", Json::array()}, {"stop_reason", nullptr},
            {"stop_sequence", nullptr}};
  }

  static void SetStop(const ChoiceText& choice, Json& target) {
    const bool sequence = !choice.stop_string.empty();
    target["stop_reason"] = choice.finish_reason == "length" ? "max_tokens"
                            : sequence                       ? "stop_sequence"
                                                             : "end_turn";
    target["stop_sequence"] = sequence ? Json(choice.stop_string) : Json(nullptr);
  }

  // Here input_tokens are those that no cache held.
  static Json UsageOf(const ResponseHead& head, const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
            {"cache_creation_input_tokens", 0},  // what is cached costs nothing extra
            {"cache_read_input_tokens", usage.cached_tokens},
            {"output_tokens", usage.completion_tokens},
            {"millrace", LedgerJson(head, usage)}};
  }

  static void Add(std::vector<StreamEvent>& events, const char* type, const Json& fields) {
    Json event = {{"type", type}};
    for (const auto& [name, value] : fields.items()) event[name] = value;
    events.push_back({type, Dump(event)});
  }

  Json stop_ = {{"stop_reason", nullptr}, {"stop_sequence", nullptr}};
};

}  // namespace

std::unique_ptr<AnswerFormat> MakeMessagesFormat() { return std::make_unique<MessagesFormat>(); }

}  // namespace openai_internal

std::string MessagesErrorJson(const ApiError& error, std::string_view request_id) {
  openai_internal::Json json = openai_internal::ErrorObject(error);
  json["request_id"] = std::string(request_id);
  return openai_internal::Dump(json);
}

std::string InputTokensJson(int64_t tokens) {
  return openai_internal::Dump({{"input_tokens", tokens}});
}

}  // namespace millrace
