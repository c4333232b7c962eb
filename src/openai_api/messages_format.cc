// A chat's answer as Anthropic's Messages write it.
#include <algorithm>
#include <utility>

#include "openai_api/partial_object.h"
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
  explicit MessagesFormat(CitedDocuments documents) : documents_(std::move(documents)) {}

  std::string_view IdPrefix() const override { return "msg_"; }
  std::string_view CallIdPrefix() const override { return "toolu_"; }

  std::string Whole(const ResponseHead& head, std::span<const ChoiceText> choices,
                    const Usage& usage) override {
    const ChoiceText& choice = choices.front();
    Json message = Message(head);
    Json& content = message["content"];
    if (!choice.reasoning.empty()) {
      content.push_back({{"type", "thinking"}, {"thinking", choice.reasoning}, {"signature", ""}});
    }
    if (!choice.text.empty() || (choice.calls.empty() && choice.reasoning.empty())) {
      AddText(head, choice, content);
    }
    for (const ToolCallText& call : choice.calls) {
      Json block = ToolUse(call);
      block["input"] = PartialObject(call.arguments);  // max_tokens may have cut it
      content.push_back(std::move(block));
    }
    SetStop(choice, message);
    message["usage"] = UsageOf(head, usage);
    return Dump(message);
  }

  std::vector<StreamEvent> Begin(const ResponseHead& head, size_t, const Usage& usage) override {
    Json message = Message(head);
    message["usage"] = {{"input_tokens", usage.prompt_tokens}, {"output_tokens", 0}};
    std::vector<StreamEvent> events;
    Add(events, "message_start", {{"message", std::move(message)}});
    return events;
  }

  std::vector<StreamEvent> Delta(const ResponseHead& head, const ChoiceText& delta) override {
    std::vector<StreamEvent> events;
    if (!delta.reasoning.empty()) {
      if (open_ != Block::kThinking) {
        OpenBlock(events, Block::kThinking,
                  {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
      }
      AddToBlock(events, {{"type", "thinking_delta"}, {"thinking", delta.reasoning}});
    }
    if (!delta.text.empty()) AddText(head, delta, events);
    for (const ToolCallText& call : delta.calls) {
      if (!call.id.empty()) OpenBlock(events, Block::kToolUse, ToolUse(call));
      if (call.arguments.empty()) continue;
      AddToBlock(events, {{"type", "input_json_delta"}, {"partial_json", call.arguments}});
    }
    if (!delta.finish_reason.empty()) SetStop(delta, stop_);
    return events;
  }

  std::vector<StreamEvent> End(const ResponseHead& head, const Usage& usage) override {
    std::vector<StreamEvent> events;
    if (blocks_ == 0) OpenTextBlock(events);  // an empty answer
    CloseBlock(events);
    Add(events, "message_delta", {{"delta", stop_}, {"usage", UsageOf(head, usage)}});
    Add(events, "message_stop", Json::object());
    return events;
  }

  StreamEvent Failure(const ResponseHead&, const ApiError& error) override {
    return {"error", Dump(ErrorObject(error))};
  }

 private:
  // A block for each piece of the text that citations end.
  void AddText(const ResponseHead& head, const ChoiceText& choice, Json& content) {
    for (auto& piece : documents_.Cut(choice.text, choice.citations, head.reduction.get())) {
      Json block = {{"type", "text"}, {"text", piece.text}};
      if (!piece.citations.empty()) block["citations"] = std::move(piece.citations);
      content.push_back(std::move(block));
    }
  }
  void AddText(const ResponseHead& head, const ChoiceText& delta,
               std::vector<StreamEvent>& events) {
    for (auto& piece : documents_.Cut(delta.text, delta.citations, head.reduction.get())) {
      if (open_ != Block::kText || cited_) OpenTextBlock(events);
      AddToBlock(events, {{"type", "text_delta"}, {"text", piece.text}});
      for (Json& citation : piece.citations) {
        AddToBlock(events, {{"type", "citations_delta"}, {"citation", std::move(citation)}});
      }
      cited_ = !piece.citations.empty();
    }
  }

  static Json Message(const ResponseHead& head) {
    return {{"id", head.id},           {"type", "message"},        {"role", "assistant"},
            {"model", head.model},     {"content", Json::array()}, {"stop_reason", nullptr},
            {"stop_sequence", nullptr}};
  }

  static void SetStop(const ChoiceText& choice, Json& target) {
    const bool sequence = !choice.stop_string.empty();
    target["stop_reason"] = choice.finish_reason == "length"       ? "max_tokens"
                            : choice.finish_reason == "tool_calls" ? "tool_use"
                            : sequence                             ? "stop_sequence"
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

  static Json ToolUse(const ToolCallText& call) {
    return {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", Json::object()}};
  }

  enum class Block { kNone, kThinking, kText, kToolUse };
  void OpenBlock(std::vector<StreamEvent>& events, Block kind, Json block) {
    CloseBlock(events);
    open_ = kind;
    cited_ = false;
    Add(events, "content_block_start", {{"index", blocks_++}, {"content_block", std::move(block)}});
  }
  void OpenTextBlock(std::vector<StreamEvent>& events) {
    OpenBlock(events, Block::kText, {{"type", "text"}, {"text", ""}});
  }
  void AddToBlock(std::vector<StreamEvent>& events, Json delta) const {
    Add(events, "content_block_delta", {{"index", blocks_ - 1}, {"delta", std::move(delta)}});
  }
  void CloseBlock(std::vector<StreamEvent>& events) {
    if (open_ == Block::kNone) return;
    // Clients keep a signature with thinking; here it means nothing.
    if (open_ == Block::kThinking)
      AddToBlock(events, {{"type", "signature_delta"}, {"signature", ""}});
    Add(events, "content_block_stop", {{"index", blocks_ - 1}});
    open_ = Block::kNone;
  }

  Json stop_ = {{"stop_reason", nullptr}, {"stop_sequence", nullptr}};
  CitedDocuments documents_;
  Block open_ = Block::kNone;
  bool cited_ = false;  // the open block ends with a citation
  int blocks_ = 0;      // begun
};

}  // namespace

std::unique_ptr<AnswerFormat> MakeMessagesFormat(CitedDocuments documents) {
  return std::make_unique<MessagesFormat>(std::move(documents));
}

}  // namespace openai_internal

std::string MessagesErrorJson(const ApiError& error, std::string_view request_id) {
  openai_internal::Json json = openai_internal::ErrorObject(error);
  if (!request_id.empty()) json["request_id"] = std::string(request_id);
  return openai_internal::Dump(json);
}

std::string InputTokensJson(int64_t tokens) {
  return openai_internal::Dump({{"input_tokens", tokens}});
}

}  // namespace millrace
