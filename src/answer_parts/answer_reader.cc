#include "answer_parts/answer_reader.h"

#include <algorithm>
#include <utility>

#include "answer_parts/markers.h"

namespace millrace {
namespace {

using answer_internal::BytesOfPartialMarker;
using answer_internal::IsBeginningOf;
using answer_internal::kCallEnd;
using answer_internal::LeadingSpace;
using answer_internal::WithoutTrailingSpace;
using PartKind = AnswerPart::Kind;

}  // namespace

AnswerReader::AnswerReader(AnswerReading reading)
    : reading_(std::move(reading)), state_(State::kContent) {
  if (!reading_.reasoning) return;
  state_ = reading_.in_reasoning ? State::kReasoning : State::kStart;
  has_reasoned_ = at_block_begin_ = reading_.in_reasoning;
}

void AnswerReader::Emit(AnswerPart::Kind kind, std::string_view text) {
  if (text.empty()) return;
  const bool goes_on = kind != PartKind::kCall && !parts_.empty() && parts_.back().kind == kind;
  if (goes_on) {
    parts_.back().text += text;
  } else {
    parts_.push_back({.kind = kind, .text = std::string(text)});
  }
}

std::string AnswerReader::TakeFront(size_t bytes) {
  std::string front = pending_.substr(0, bytes);
  pending_.erase(0, bytes);
  return front;
}

bool AnswerReader::Start() {
  const size_t space = LeadingSpace(pending_);
  const std::string_view rest = std::string_view(pending_).substr(space);
  const std::string& open = reading_.reasoning->open;
  if (rest.starts_with(open)) {
    pending_.erase(0, space + open.size());
    state_ = State::kReasoning;
    has_reasoned_ = at_block_begin_ = true;
    return true;
  }
  if (IsBeginningOf(rest, open)) return false;
  state_ = State::kContent;
  return true;
}

bool AnswerReader::Reasoning() {
  if (at_block_begin_) pending_.erase(0, LeadingSpace(pending_));
  if (pending_.empty()) return false;
  const std::string& close = reading_.reasoning->close;
  const size_t end = pending_.find(close);
  const bool is_over = end != std::string::npos;
  const size_t certain = is_over ? end : pending_.size() - BytesOfPartialMarker(pending_, close);
  const std::string_view text = WithoutTrailingSpace(std::string_view(pending_).substr(0, certain));
  if (!text.empty()) at_block_begin_ = false;
  Emit(PartKind::kReasoning, text);
  pending_.erase(0, is_over ? end + close.size() : text.size());
  if (is_over) state_ = State::kContent;
  return is_over;
}

bool AnswerReader::Content() {
  if (!content_begun_ && has_reasoned_) {
    const size_t space = LeadingSpace(pending_);
    if (space == pending_.size() || reading_.functions.empty()) pending_.erase(0, space);
  }
  if (pending_.empty()) return false;
  if (!reading_.functions.empty()) return ContentWithTools();
  content_begun_ = true;
  Emit(PartKind::kContent, TakeFront(pending_.size()));
  return false;
}

bool AnswerReader::JsonMayBegin(char c) const {
  if (reading_.format == ToolFormat::kLlama3) return c == '{';
  return reading_.format == ToolFormat::kJson && (c == '{' || c == '[');
}

bool AnswerReader::ContentWithTools() {
  const size_t space = LeadingSpace(pending_);
  if (!content_begun_ && space < pending_.size() && JsonMayBegin(pending_[space])) {
    lead_ = TakeFront(space);
    has_marker_ = in_array_ = false;
    state_ = State::kOpened;
    return true;
  }
  const std::string_view marker = CallMarker(reading_.format);
  size_t certain = pending_.size();
  bool found = false;
  const std::string_view bare = BareCallMarker(reading_.format);
  size_t marker_bytes = marker.size();
  if (!marker.empty()) {
    size_t at = pending_.find(marker);
    if (!bare.empty() && pending_.find(bare) < at) {
      at = pending_.find(bare);
      marker_bytes = 0;  // it is the call's own beginning
    }
    found = at != std::string::npos;
    size_t held = BytesOfPartialMarker(pending_, marker);
    if (!bare.empty()) held = std::max(held, BytesOfPartialMarker(pending_, bare));
    certain = found ? at : pending_.size() - held;
  }
  const std::string_view text = WithoutTrailingSpace(std::string_view(pending_).substr(0, certain));
  if (!text.empty()) {
    // Space behind reasoning stands between two parts.
    const bool drops_space = !content_begun_ && (has_reasoned_ || calls_ > 0);
    Emit(PartKind::kContent, text.substr(drops_space ? LeadingSpace(text) : 0));
    content_begun_ = true;
  }
  pending_.erase(0, text.size());
  if (!found) return false;
  lead_ = TakeFront(certain - text.size() + marker_bytes);
  has_marker_ = true;
  in_array_ = false;
  state_ = State::kOpened;
  return true;
}

// Behind a marker, or where JSON begins. Of a list, its bracket too.
bool AnswerReader::Opened() {
  const size_t space = LeadingSpace(pending_);
  if (space == pending_.size()) return false;
  const char c = pending_[space];
  const bool mistral =
      reading_.format == ToolFormat::kMistral || reading_.format == ToolFormat::kMistralArgs;
  const bool array = mistral || reading_.format == ToolFormat::kJson;
  if (c == '[' && array && !in_array_) {
    lead_ += TakeFront(space + 1);
    in_array_ = true;
    return true;
  }
  // Models that write tags may still write the object that others do.
  const bool tagged = IsTagged(reading_.format) && c != '{' && !in_array_;
  if (!tagged && (c != '{' || (mistral && !in_array_))) {
    Reject();
    return true;
  }
  lead_ += TakeFront(space);
  if (tagged) {
    call_.BeginTagged(reading_.format, reading_.types);
  } else {
    call_.BeginObject();
  }
  BeginCall();
  return true;
}

void AnswerReader::BeginCall() {
  told_ = false;
  told_bytes_ = 0;
  state_ = State::kObject;
}

// What is being read is no call: its text, and what stood before it, is content.
void AnswerReader::Reject() {
  std::string text = lead_ + call_.text();
  call_.BeginObject();
  lead_.clear();
  // The first character that is no space cannot begin a call again; the rest can.
  const std::string_view call_marker = CallMarker(reading_.format);
  const size_t at = LeadingSpace(text);
  const bool behind_marker =
      !call_marker.empty() && text.compare(at, call_marker.size(), call_marker) == 0;
  const size_t marker = behind_marker ? call_marker.size() : 1;
  const size_t shown = text.empty() ? 0 : std::min(at + marker, text.size());
  const bool drops_space = !content_begun_ && (has_reasoned_ || calls_ > 0);
  pending_ = text.substr(shown) + pending_;
  text.resize(shown);
  if (!text.empty())
    Emit(PartKind::kContent, std::string_view(text).substr(drops_space ? LeadingSpace(text) : 0));
  content_begun_ = true;
  in_array_ = false;
  state_ = State::kContent;
}

bool AnswerReader::IsFunction(const std::string& name) const {
  return std::find(reading_.functions.begin(), reading_.functions.end(), name) !=
         reading_.functions.end();
}

// The arguments as far as they are known.
void AnswerReader::TellArguments() {
  if (!call_.name() || !call_.has_arguments()) return;
  if (!told_) {
    Emit(PartKind::kCall, *call_.name());
    parts_.back().call = calls_++;
    told_ = true;
  }
  const std::string_view more = call_.arguments().substr(told_bytes_);
  if (more.empty()) return;
  const bool goes_on = !parts_.empty() && parts_.back().kind == PartKind::kArguments;
  if (!goes_on) parts_.push_back({.kind = PartKind::kArguments, .text = "", .call = calls_ - 1});
  parts_.back().text += more;
  told_bytes_ += more.size();
}

void AnswerReader::EndCall() {
  TellArguments();
  if (!call_.has_arguments()) {  // of a function without any
    parts_.push_back({.kind = PartKind::kCall, .text = *call_.name(), .call = calls_++});
    parts_.push_back({.kind = PartKind::kArguments, .text = "{}", .call = calls_ - 1});
  }
  LeaveCall();
}

void AnswerReader::LeaveCall() {
  const bool is_closed =
      IsTagged(reading_.format) && call_.arguments_are_whole() && call_.text().ends_with(kCallEnd);
  call_.BeginObject();
  lead_.clear();
  told_ = content_begun_ = false;
  state_ = is_closed ? State::kContent : State::kAfterCall;
}

bool AnswerReader::Object() {
  for (size_t i = 0; i < pending_.size(); ++i) {
    const CallObject::Step step = call_.Take(pending_[i]);
    const bool is_wrong = step == CallObject::Step::kWrong;
    if (step == CallObject::Step::kGoesOn) {
      const bool unknown = call_.name() && !IsFunction(*call_.name());
      if (!unknown) continue;
      pending_.erase(0, i + 1);
      Reject();
      return true;
    }
    pending_.erase(0, is_wrong ? i : i + 1);
    const bool known = call_.name() && IsFunction(*call_.name());
    // Without a marker, an answer that is JSON is a call only if it looks like one.
    if (known && (call_.arguments_are_whole() || (!is_wrong && has_marker_))) {
      EndCall();
    } else if (known && call_.has_arguments()) {
      TellArguments();
      state_ = State::kBroken;
    } else {
      Reject();
    }
    return true;
  }
  pending_.clear();
  if (call_.name()) TellArguments();
  return false;
}

bool AnswerReader::AfterCall() {
  const bool has_end = EndsWithTag(reading_.format);
  const size_t at = pending_.find_first_not_of(has_end ? " \n\r\t}" : " \n\r\t,;");
  const bool is_list = in_array_ || reading_.format == ToolFormat::kLlama3;
  if (at == std::string::npos) return false;
  const std::string_view rest = std::string_view(pending_).substr(at);
  if (has_end) {
    if (IsBeginningOf(rest, kCallEnd)) return false;
    if (rest.starts_with(kCallEnd)) pending_.erase(0, at + kCallEnd.size());
    state_ = State::kContent;
    return true;
  }
  if (in_array_ && rest.front() == ']') {
    pending_.erase(0, at + 1);
    in_array_ = false;
    state_ = State::kContent;
    return true;
  }
  if (is_list && rest.front() == '{') {
    lead_ = TakeFront(at);
    call_.BeginObject();
    BeginCall();
    return true;
  }
  in_array_ = false;
  state_ = State::kContent;
  return true;
}

bool AnswerReader::Broken() {
  size_t end = std::string::npos, certain = pending_.size();
  std::string_view marker = EndsWithTag(reading_.format) ? kCallEnd : std::string_view();
  if (reading_.format == ToolFormat::kMistralArgs) marker = CallMarker(reading_.format);
  if (!marker.empty()) {
    end = pending_.find(marker);
    certain =
        end != std::string::npos ? end : pending_.size() - BytesOfPartialMarker(pending_, marker);
  }
  if (certain > 0) {
    const bool goes_on = !parts_.empty() && parts_.back().kind == PartKind::kArguments;
    if (!goes_on) parts_.push_back({.kind = PartKind::kArguments, .text = "", .call = calls_ - 1});
    parts_.back().text += TakeFront(certain);
  }
  if (end == std::string::npos) return false;
  LeaveCall();
  return true;
}

std::vector<AnswerPart> AnswerReader::Take(std::string_view text) {
  pending_ += text;
  for (bool goes_on = !pending_.empty(); goes_on;) {
    switch (state_) {
      case State::kStart:
        goes_on = Start();
        break;
      case State::kReasoning:
        goes_on = Reasoning();
        break;
      case State::kContent:
        goes_on = Content();
        break;
      case State::kOpened:
        goes_on = Opened();
        break;
      case State::kObject:
        goes_on = Object();
        break;
      case State::kAfterCall:
        goes_on = AfterCall();
        break;
      case State::kBroken:
        goes_on = Broken();
        break;
    }
  }
  return std::exchange(parts_, {});
}

std::vector<AnswerPart> AnswerReader::Finish() {
  const bool in_call = state_ == State::kOpened || state_ == State::kObject;
  if (state_ == State::kReasoning) {
    Emit(PartKind::kReasoning, WithoutTrailingSpace(pending_));
  } else if (state_ == State::kBroken) {
    if (!pending_.empty()) {
      parts_.push_back({.kind = PartKind::kArguments, .text = pending_, .call = calls_ - 1});
    }
  } else if (!(in_call && told_) && state_ != State::kAfterCall) {
    std::string text = (in_call ? lead_ + call_.text() : std::string()) + pending_;
    const bool between = !content_begun_ && (has_reasoned_ || calls_ > 0);
    if (between) text.erase(0, LeadingSpace(text));
    Emit(PartKind::kContent, text);
  }
  pending_.clear();
  lead_.clear();
  call_.BeginObject();
  return std::exchange(parts_, {});
}

}  // namespace millrace
