#include "server/divided_answer.h"

#include <iterator>
#include <utility>

namespace millrace::server_internal {

DividedAnswer::DividedAnswer(const AnswerReading& reading, std::function<std::string()> call_id)
    : call_id_(std::move(call_id)) {
  if (reading.reads_anything()) reader_.emplace(reading);
}

std::vector<TokenId> DividedAnswer::ShownTokens(const AnswerReading& reading,
                                                const Tokenizer& tokenizer) {
  AnswerStyle style;
  style.tools = reading.functions.empty() ? ToolFormat::kJson : reading.format;
  style.reasoning = reading.reasoning;
  std::vector<TokenId> shown;
  for (const std::string& marker : MarkersOf(style)) {
    const auto token = tokenizer.FindToken(marker);
    if (token && tokenizer.IsControl(*token)) shown.push_back(*token);
  }
  return shown;
}

void DividedAnswer::Add(std::vector<AnswerPart> parts) {
  for (AnswerPart& part : parts) {
    const bool goes_on = part.kind != AnswerPart::Kind::kCall && !parts_.empty() &&
                         parts_.back().kind == part.kind && parts_.back().call == part.call;
    if (goes_on) {
      parts_.back().text += part.text;
    } else {
      parts_.push_back(std::move(part));
    }
  }
}

void DividedAnswer::Take(std::string_view text) {
  if (!reader_) {
    if (!text.empty()) Add({{.kind = AnswerPart::Kind::kContent, .text = std::string(text)}});
    return;
  }
  if (!reader_->reasoning_is_over()) ++tokens_until_content_;
  Add(reader_->Take(text));
}

void DividedAnswer::Finish(std::string_view rest) {
  if (!reader_) return Take(rest);
  Add(reader_->Take(rest));
  Add(reader_->Finish());
}

std::vector<ChoiceText> DividedAnswer::TakeDeltas(ChoiceText delta) {
  std::vector<ChoiceText> deltas;
  for (AnswerPart& part : std::exchange(parts_, {})) {
    ChoiceText& next = deltas.emplace_back();
    next.index = delta.index;
    switch (part.kind) {
      case AnswerPart::Kind::kReasoning:
        next.reasoning = std::move(part.text);
        break;
      case AnswerPart::Kind::kContent:
        next.text = std::move(part.text);
        break;
      case AnswerPart::Kind::kCall:
        next.calls.push_back(
            {.index = part.call, .id = call_id_(), .name = std::move(part.text), .arguments = ""});
        break;
      case AnswerPart::Kind::kArguments:
        next.calls.push_back(
            {.index = part.call, .id = "", .name = "", .arguments = std::move(part.text)});
        break;
    }
  }
  if (!delta.text.empty()) {  // the echoed prompt
    if (deltas.empty() || !deltas.front().calls.empty() || !deltas.front().reasoning.empty()) {
      deltas.emplace(deltas.begin())->index = delta.index;
    }
    deltas.front().text.insert(0, delta.text);
  }
  if (deltas.empty()) deltas.emplace_back().index = delta.index;
  deltas.front().logprobs = std::move(delta.logprobs);
  return deltas;
}

void AddDelta(ChoiceText& whole, ChoiceText delta) {
  whole.reasoning += delta.reasoning;
  whole.text += delta.text;
  for (ToolCallText& call : delta.calls) {
    if (call.id.empty() && !whole.calls.empty()) {
      whole.calls.back().arguments += call.arguments;
    } else {
      whole.calls.push_back(std::move(call));
    }
  }
  if (!delta.finish_reason.empty()) {
    whole.finish_reason = std::move(delta.finish_reason);
    whole.stop_string = std::move(delta.stop_string);
  }
  std::move(delta.citations.begin(), delta.citations.end(), std::back_inserter(whole.citations));
  std::move(delta.logprobs.begin(), delta.logprobs.end(), std::back_inserter(whole.logprobs));
}

}  // namespace millrace::server_internal
