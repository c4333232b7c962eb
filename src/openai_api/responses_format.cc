// A chat's answer as OpenAI's Responses write it: items of output in the order in which they come,
// reasoning, the message, calls of functions.
#include <fmt/format.h>

#include <utility>
#include <vector>

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
    Close(head);
    return Dump(ResponseObject(head, StatusOf(finish_reason_), &usage));
  }

  std::vector<StreamEvent> Begin(const ResponseHead& head, size_t, const Usage&) override {
    events_.clear();
    const Json response = ResponseObject(head, "in_progress", nullptr);
    Add("response.created", {{"response", response}});
    Add("response.in_progress", {{"response", response}});
    return std::move(events_);
  }

  std::vector<StreamEvent> Delta(const ResponseHead& head, const ChoiceText& delta) override {
    events_.clear();
    Take(head, delta);
    return std::move(events_);
  }

  std::vector<StreamEvent> End(const ResponseHead& head, const Usage& usage) override {
    events_.clear();
    Close(head);
    const char* status = StatusOf(finish_reason_);
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
  enum class Kind { kReasoning, kMessage, kCall };
  struct Item {
    Kind kind;
    std::string id;
    std::string text;  // of a call: its arguments
    std::string call_id, name;
    Json logprobs = Json::array(), annotations = Json::array();
  };

  static const char* StatusOf(const std::string& finish_reason) {
    return finish_reason == "length" ? "incomplete" : "completed";
  }

  // Adds to the items, with the events of that.
  void Take(const ResponseHead& head, const ChoiceText& delta) {
    if (!delta.finish_reason.empty()) finish_reason_ = delta.finish_reason;
    if (!delta.reasoning.empty()) {
      Item& item = Open(head, Kind::kReasoning);
      item.text += delta.reasoning;
      AddPart("response.reasoning_text.delta", {{"delta", delta.reasoning}});
    }
    if (!delta.text.empty() ||
        (!delta.logprobs.empty() && delta.calls.empty() && delta.reasoning.empty())) {
      TakeText(head, delta);
    }
    for (const ToolCallText& call : delta.calls) {
      if (!call.id.empty()) OpenCall(head, call);
      if (call.arguments.empty()) continue;
      items_.back().text += call.arguments;
      AddOfItem("response.function_call_arguments.delta", {{"delta", call.arguments}});
    }
  }

  void TakeText(const ResponseHead& head, const ChoiceText& delta) {
    Item& item = Open(head, Kind::kMessage);
    const Json logprobs = TokenLogprobs(delta.logprobs);
    item.text += delta.text;
    for (const Json& one : logprobs) item.logprobs.push_back(one);
    AddPart("response.output_text.delta", {{"delta", delta.text}, {"logprobs", logprobs}});
    if (!head.reduction) return;
    for (Json& annotation : AnnotationsJson(*head.reduction, delta.citations)) {
      AddPart("response.output_text.annotation.added",
              {{"annotation_index", item.annotations.size()}, {"annotation", annotation}});
      item.annotations.push_back(std::move(annotation));
    }
  }

  // The item of that kind that is being written; begins one where it is another's turn.
  Item& Open(const ResponseHead& head, Kind kind) {
    if (!is_open_ || items_.back().kind != kind) {
      CloseItem();
      Item item;
      item.kind = kind;
      item.id = fmt::format("{}_{}", kind == Kind::kReasoning ? "rs" : "msg", Suffix(head));
      Begin(std::move(item));
      AddPart("response.content_part.added", {{"part", PartOf(Blank(items_.back()))}});
    }
    return items_.back();
  }

  void OpenCall(const ResponseHead& head, const ToolCallText& call) {
    CloseItem();
    Item item;
    item.kind = Kind::kCall;
    item.id = fmt::format("fc_{}", Suffix(head));
    item.call_id = call.id;
    item.name = call.name;
    Begin(std::move(item));
  }

  void Begin(Item item) {
    items_.push_back(std::move(item));
    is_open_ = true;
    Json shown = ItemJson(Blank(items_.back()), "in_progress");
    if (items_.back().kind != Kind::kCall) shown["content"] = Json::array();
    Add("response.output_item.added",
        {{"output_index", items_.size() - 1}, {"item", std::move(shown)}});
  }

  void CloseItem() {
    if (!std::exchange(is_open_, false)) return;
    const Item& item = items_.back();
    switch (item.kind) {
      case Kind::kReasoning:
        AddPart("response.reasoning_text.done", {{"text", item.text}});
        break;
      case Kind::kMessage:
        AddPart("response.output_text.done", {{"text", item.text}, {"logprobs", item.logprobs}});
        break;
      case Kind::kCall:
        AddOfItem("response.function_call_arguments.done",
                  {{"name", item.name}, {"arguments", item.text}});
        break;
    }
    if (item.kind != Kind::kCall) AddPart("response.content_part.done", {{"part", PartOf(item)}});
    Add("response.output_item.done",
        {{"output_index", items_.size() - 1}, {"item", ItemJson(item, StatusOf(finish_reason_))}});
  }

  // The end of the answer; one without anything is an empty message.
  void Close(const ResponseHead& head) {
    if (items_.empty()) Open(head, Kind::kMessage);
    CloseItem();
  }

  // The same for each item of a response, but for its number.
  std::string Suffix(const ResponseHead& head) const {
    const std::string id = head.id.substr(head.id.find('_') + 1);
    return items_.empty() ? id : fmt::format("{}{}", id, items_.size());
  }

  static Item Blank(const Item& item) {
    Item blank;
    blank.kind = item.kind;
    blank.id = item.id;
    blank.call_id = item.call_id;
    blank.name = item.name;
    return blank;
  }

  static Json PartOf(const Item& item) {
    if (item.kind == Kind::kReasoning) return {{"type", "reasoning_text"}, {"text", item.text}};
    return {{"type", "output_text"},
            {"text", item.text},
            {"annotations", item.annotations},
            {"logprobs", item.logprobs}};
  }

  static Json ItemJson(const Item& item, const char* status) {
    Json json = {{"id", item.id}};
    switch (item.kind) {
      case Kind::kReasoning:
        json["type"] = "reasoning";
        json["summary"] = Json::array();
        break;
      case Kind::kMessage:
        json["type"] = "message";
        json["role"] = "assistant";
        break;
      case Kind::kCall:
        json["type"] = "function_call";
        json["call_id"] = item.call_id;
        json["name"] = item.name;
        json["arguments"] = item.text;
        break;
    }
    json["status"] = status;
    if (item.kind != Kind::kCall) json["content"] = Json::array({PartOf(item)});
    return json;
  }

  // Without usage, it has not begun to answer, or failed.
  Json ResponseObject(const ResponseHead& head, const char* status, const Usage* usage) const {
    const bool ended = usage != nullptr;
    Json json = {{"id", head.id},      {"object", "response"}, {"created_at", head.created},
                 {"status", status},   {"error", nullptr},     {"incomplete_details", nullptr},
                 {"model", head.model}};
    if (finish_reason_ == "length") json["incomplete_details"] = {{"reason", "max_output_tokens"}};
    json["output"] = Json::array();
    for (size_t i = 0; ended && i < items_.size(); ++i) {
      const bool last = i + 1 == items_.size();
      json["output"].push_back(ItemJson(items_[i], last ? status : "completed"));
    }
    for (const auto& [name, value] : echo_.items()) json[name] = value;
    json["usage"] = ended ? UsageObject(head, *usage) : Json(nullptr);
    return json;
  }

  static Json UsageObject(const ResponseHead& head, const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
            {"millrace", LedgerJson(head, usage)}};
  }

  void Add(std::string name, Json fields) {
    Json event = {{"type", name}, {"sequence_number", sequence_++}};
    for (const auto& [key, value] : fields.items()) event[key] = value;
    events_.push_back({std::move(name), Dump(event)});
  }
  // Of the last item.
  void AddOfItem(std::string name, Json fields) {
    Json all = {{"item_id", items_.back().id}, {"output_index", items_.size() - 1}};
    for (const auto& [key, value] : fields.items()) all[key] = value;
    Add(std::move(name), std::move(all));
  }
  void AddPart(std::string name, Json fields) {
    Json all = {{"content_index", 0}};
    for (const auto& [key, value] : fields.items()) all[key] = value;
    AddOfItem(std::move(name), std::move(all));
  }

  const Json echo_;
  std::vector<StreamEvent> events_;
  int64_t sequence_ = 0;
  // The answer so far.
  std::vector<Item> items_;
  bool is_open_ = false;  // the last one is being written
  std::string finish_reason_;
};

}  // namespace

std::unique_ptr<AnswerFormat> MakeResponsesFormat(Json echo) {
  return std::make_unique<ResponsesFormat>(std::move(echo));
}

}  // namespace millrace::openai_internal
