// A chat's answer as OpenAI's Responses write it.
#include <fmt/format.h>

#include <utility>

#include "openai_api/reduction_json.h"
#include "openai_api/response_json.h"
#include "openai_api/translation.h"

namespace millrace::openai_internal {
namespace {

class ResponsesFormat : public AnswerFormat {
 public:
  explicit ResponsesFormat(Json echo) : echo_(std::move(echo)) {}

  std::string_view IdPrefix() const override { return "resp_"; }

  std::string Whole(const ResponseHead& head, std::span<const ChoiceText> choices,
                    const Usage& usage) override {
    Take(head, choices.front());
    return Dump(ResponseObject(head, StatusOf(finish_reason_), &usage));
  }

  std::vector<StreamEvent> Begin(const ResponseHead& head, size_t, const Usage&) override {
    events_.clear();
    const Json response = ResponseObject(head, "in_progress", nullptr);
    Add("response.created", {{"response", response}});
    Add("response.in_progress", {{"response", response}});
    Json item = MessageItem(head, "in_progress");
    item["content"] = Json::array();
    Add("response.output_item.added", {{"output_index", 0}, {"item", std::move(item)}});
    Json part = {{"type", "output_text"},
                 {"text", ""},
                 {"annotations", Json::array()},
                 {"logprobs", Json::array()}};
    AddPart("response.content_part.added", head, {{"part", std::move(part)}});
    return std::move(events_);
  }

  std::vector<StreamEvent> Delta(const ResponseHead& head, const ChoiceText& delta) override {
    events_.clear();
    const size_t known = annotations_.size();
    Take(head, delta);
    if (!delta.text.empty() || !delta.logprobs.empty()) {
      AddPart("response.output_text.delta", head,
              {{"delta", delta.text}, {"logprobs", TokenLogprobs(delta.logprobs)}});
    }
    for (size_t i = known; i < annotations_.size(); ++i) {
      AddPart("response.output_text.annotation.added", head,
              {{"annotation_index", i}, {"annotation", annotations_[i]}});
    }
    return std::move(events_);
  }

  std::vector<StreamEvent> End(const ResponseHead& head, const Usage& usage) override {
    events_.clear();
    const char* status = StatusOf(finish_reason_);
    AddPart("response.output_text.done", head, {{"text", text_}, {"logprobs", logprobs_}});
    AddPart("response.content_part.done", head, {{"part", TextPart()}});
    Add("response.output_item.done", {{"output_index", 0}, {"item", MessageItem(head, status)}});
    Add(fmt::format("response.{}", status), {{"response", ResponseObject(head, status, &usage)}});
    return std::move(events_);
  }

  StreamEvent Failure(const ResponseHead& head, const ApiError& error) override {
    events_.clear();
    Json response = ResponseObject(head, "failed", nullptr);
    response["error"] = {{"code", error.code.empty() ? "server_error" : error.code},
                         {"message", error.message}};
    Add("response.failed", {{"response", std::move(response)}});
    return std::move(events_.front());
  }

 private:
  static const char* StatusOf(const std::string& finish_reason) {
    return finish_reason == "length" ? "incomplete" : "completed";
  }

  void Take(const ResponseHead& head, const ChoiceText& delta) {
    text_ += delta.text;
    for (Json& one : TokenLogprobs(delta.logprobs)) logprobs_.push_back(std::move(one));
    if (head.reduction && !delta.citations.empty()) {
      for (Json& one : AnnotationsJson(*head.reduction, delta.citations))
        annotations_.push_back(std::move(one));
    }
    if (!delta.finish_reason.empty()) finish_reason_ = delta.finish_reason;
  }

  Json TextPart() const {
    return {{"type", "output_text"},
            {"text", text_},
            {"annotations", annotations_},
            {"logprobs", logprobs_}};
  }

  static std::string ItemId(const ResponseHead& head) {
    return "msg_" + head.id.substr(head.id.find('_') + 1);
  }

  Json MessageItem(const ResponseHead& head, const char* status) const {
    return {{"id", ItemId(head)},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", Json::array({TextPart()})}};
  }

  // Without usage, it has not begun to answer, or failed.
  Json ResponseObject(const ResponseHead& head, const char* status, const Usage* usage) const {
    const bool ended = usage != nullptr;
    Json json = {{"id", head.id},      {"object", "response"}, {"created_at", head.created},
                 {"status", status},   {"error", nullptr},     {"incomplete_details", nullptr},
                 {"model", head.model}};
    if (finish_reason_ == "length") json["incomplete_details"] = {{"reason", "max_output_tokens"}};
    json["output"] = ended ? Json::array({MessageItem(head, status)}) : Json::array();
    for (const auto& [name, value] : echo_.items()) json[name] = value;
    json["usage"] = ended ? UsageObject(head, *usage) : Json(nullptr);
    return json;
  }

  static Json UsageObject(const ResponseHead& head, const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"reasoning_tokens", 0}}},  // none is kept apart
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
            {"millrace", LedgerJson(head, usage)}};
  }

  void Add(std::string name, Json fields) {
    Json event = {{"type", name}, {"sequence_number", sequence_++}};
    for (const auto& [key, value] : fields.items()) event[key] = value;
    events_.push_back({std::move(name), Dump(event)});
  }
  void AddPart(std::string name, const ResponseHead& head, Json fields) {
    Json all = {{"item_id", ItemId(head)}, {"output_index", 0}, {"content_index", 0}};
    for (const auto& [key, value] : fields.items()) all[key] = value;
    Add(std::move(name), std::move(all));
  }

  const Json echo_;
  std::vector<StreamEvent> events_;
  int64_t sequence_ = 0;
  // The answer so far.
  std::string text_;
  std::string finish_reason_;
  Json logprobs_ = Json::array();
  Json annotations_ = Json::array();
};

}  // namespace

std::unique_ptr<AnswerFormat> MakeResponsesFormat(Json echo) {
  return std::make_unique<ResponsesFormat>(std::move(echo));
}

}  // namespace millrace::openai_internal
