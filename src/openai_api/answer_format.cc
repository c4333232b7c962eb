#include "openai_api/answer_format.h"

#include <utility>

namespace millrace {
namespace {

class CompletionFormat : public AnswerFormat {
 public:
  explicit CompletionFormat(Endpoint endpoint) : chat_(endpoint == Endpoint::kChat) {}

  std::string_view IdPrefix() const override { return chat_ ? "chatcmpl-" : "cmpl-"; }

  std::string Whole(const ResponseHead& head, std::span<const ChoiceText> choices,
                    const Usage& usage) override {
    return WholeResponse(head, choices, usage);
  }

  std::vector<StreamEvent> Begin(const ResponseHead& head, size_t choices, const Usage&) override {
    std::vector<StreamEvent> events;
    for (size_t i = 0; chat_ && i < choices; ++i) {
      events.push_back({"", RoleChunk(head, static_cast<int>(i))});
    }
    return events;
  }

  std::vector<StreamEvent> Delta(const ResponseHead& head, const ChoiceText& delta) override {
    return One(TextChunk(head, delta));
  }

  std::vector<StreamEvent> Draft(const ResponseHead& head, const DraftStep& step) override {
    return One(DraftChunk(head, step));
  }

  std::vector<StreamEvent> End(const ResponseHead& head, const Usage& usage) override {
    std::vector<StreamEvent> events;
    if (head.include_usage) events.push_back({"", UsageChunk(head, usage)});
    events.push_back({"", "[DONE]"});
    return events;
  }

  StreamEvent Failure(const ResponseHead&, const ApiError& error) override {
    return {"", ToJson(error)};
  }

 private:
  static std::vector<StreamEvent> One(std::string data) {
    std::vector<StreamEvent> events;
    events.push_back({"", std::move(data)});
    return events;
  }

  const bool chat_;
};

}  // namespace

std::unique_ptr<AnswerFormat> MakeCompletionFormat(Endpoint endpoint) {
  return std::make_unique<CompletionFormat>(endpoint);
}

}  // namespace millrace
