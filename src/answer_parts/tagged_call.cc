#include "answer_parts/tagged_call.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "answer_parts/markers.h"

namespace millrace {
namespace {

using answer_internal::BytesOfPartialMarker;
using answer_internal::IsBeginningOf;
using answer_internal::kCallEnd;
using answer_internal::WithoutSpace;

constexpr std::string_view kFunction = "<function=", kFunctionEnd = "</function>";
constexpr std::string_view kParameter = "<parameter=", kParameterEnd = "</parameter>";
constexpr std::string_view kKeyTag = "<arg_key>", kKeyEnd = "</arg_key>";
constexpr std::string_view kValueTag = "<arg_value>", kValueEnd = "</arg_value>";
constexpr std::string_view kArguments = "[ARGS]", kCallIdTag = "[CALL_ID]";

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool MayBeInName(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
}

// Between quotes; bytes past ASCII stay as they are.
void AddEscaped(std::string_view text, std::string& json) {
  constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (json += '\\') += c;
    } else if (c == '\n') {
      json += "\\n";
    } else if (c == '\t') {
      json += "\\t";
    } else if (c == '\r') {
      json += "\\r";
    } else if (byte < 0x20) {
      ((json += "\\u00") += kHex[byte >> 4]) += kHex[byte & 15];
    } else {
      json += c;
    }
  }
}

std::string Quoted(std::string_view text) {
  std::string json = "\"";
  AddEscaped(text, json);
  return json + '"';
}

uint32_t TypeOfJson(const nlohmann::json& value) {
  if (value.is_null()) return kNullArgument;
  if (value.is_boolean()) return kBooleanArgument;
  if (value.is_number()) return kNumberArgument;
  if (value.is_string()) return kStringArgument;
  return value.is_array() ? kArrayArgument : kObjectArgument;
}

// As Python prints them, which some templates show the model.
std::string_view FromPython(std::string_view value) {
  if (value == "True") return "true";
  if (value == "False") return "false";
  return value == "None" ? "null" : value;
}

// One value, nested no deeper than a call's arguments may be.
bool IsShallow(std::string_view json) {
  size_t depth = 0;
  for (const char c : json) {
    if (c == '[' || c == '{') ++depth;  // within strings too: then it is a string
  }
  return depth < JsonCursor::kMaxDepth;  // within another
}

}  // namespace

TaggedCall::TaggedCall(ToolFormat format, std::shared_ptr<const FunctionTypes> types)
    : format_(format), functions_(std::move(types)) {}

TaggedCall::Step TaggedCall::Take(char c) {
  Step step = Step::kWrong;
  switch (state_) {
    case State::kName:
      step = format_ == ToolFormat::kMistralArgs ? MistralName(c) : Name(c);
      break;
    case State::kCallId:
      step = CallId(c);
      break;
    case State::kObject:
      step = Object(c);
      break;
    case State::kTags:
      step = Tags(c);
      break;
    case State::kKey:
      step = Key(c);
      break;
    case State::kBehindKey:
      step = BehindKey(c);
      break;
    case State::kValue:
      step = Value(c);
      break;
  }
  if (step != Step::kWrong) text_ += c;
  return step;
}

TaggedCall::Step TaggedCall::EndName(std::string_view name, State next) {
  const std::string_view bare = WithoutSpace(name);
  if (bare.empty() || !std::all_of(bare.begin(), bare.end(), MayBeInName)) return Step::kWrong;
  name_ = std::string(bare);
  if (functions_) {
    const auto known = functions_->find(*name_);
    if (known != functions_->end()) types_ = known->second;
  }
  read_.clear();
  state_ = next;
  return Step::kGoesOn;
}

// Qwen's between <function= and >; GLM's up to the end of the line, or to a tag.
TaggedCall::Step TaggedCall::Name(char c) {
  if (read_.empty() && IsSpace(c)) return Step::kGoesOn;
  if (format_ == ToolFormat::kQwenCoder) {
    if (read_.size() < kFunction.size()) {
      if (kFunction[read_.size()] != c) return Step::kWrong;
      read_ += c;
      return Step::kGoesOn;
    }
    if (c == '>') return EndName(std::string_view(read_).substr(kFunction.size()), State::kTags);
    if (!MayBeInName(c)) return Step::kWrong;
  } else if (c == '\n' || c == '<') {
    const Step step = EndName(read_, State::kTags);
    if (step == Step::kGoesOn && c == '<') read_ = "<";
    return step;
  } else if (!MayBeInName(c) && !IsSpace(c)) {
    return Step::kWrong;
  }
  read_ += c;
  return read_.size() <= kFunction.size() + kMaxNameBytes ? Step::kGoesOn : Step::kWrong;
}

TaggedCall::Step TaggedCall::MistralName(char c) {
  if (read_.empty() && IsSpace(c)) return Step::kGoesOn;
  const size_t tag = read_.find('[');
  if (tag == std::string::npos && c == '{') {
    if (EndName(read_, State::kObject) == Step::kWrong) return Step::kWrong;
    return Object(c);
  }
  if (tag == std::string::npos && c != '[' && !MayBeInName(c) && !IsSpace(c)) return Step::kWrong;
  read_ += c;
  if (read_.size() > kMaxNameBytes + kCallIdTag.size()) return Step::kWrong;
  if (tag == std::string::npos) return Step::kGoesOn;
  const std::string_view seen = std::string_view(read_).substr(tag);
  const std::string name = read_.substr(0, tag);
  if (seen == kArguments) return EndName(name, State::kObject);
  if (seen == kCallIdTag) return EndName(name, State::kCallId);
  const bool begins = IsBeginningOf(seen, kArguments) || IsBeginningOf(seen, kCallIdTag);
  return begins ? Step::kGoesOn : Step::kWrong;
}

TaggedCall::Step TaggedCall::CallId(char c) {
  read_ += c;
  if (read_.ends_with(kArguments)) {
    read_.clear();
    state_ = State::kObject;
    return Step::kGoesOn;
  }
  return read_.size() <= kMaxNameBytes ? Step::kGoesOn : Step::kWrong;
}

TaggedCall::Step TaggedCall::Object(char c) {
  if (arguments_.empty()) {
    if (IsSpace(c)) return Step::kGoesOn;
    if (c != '{') return Step::kWrong;
  }
  const Step step = cursor_.Take(c);
  if (step == Step::kWrong) return step;
  arguments_ += c;
  whole_ = step == Step::kDone;
  return step;
}

// Up to the next tag that says something.
TaggedCall::Step TaggedCall::Tags(char c) {
  if (c == '<') {
    read_ = c;
    return Step::kGoesOn;
  }
  if (read_.empty()) return Step::kGoesOn;
  read_ += c;
  const bool qwen = format_ == ToolFormat::kQwenCoder;
  const std::string_view member = qwen ? kParameter : kKeyTag;
  if (read_ == member) {
    read_.clear();
    state_ = State::kKey;
    return Step::kGoesOn;
  }
  // A model may forget the function's end.
  if (read_ == kCallEnd || (qwen && read_ == kFunctionEnd)) return EndObject();
  const bool begins = IsBeginningOf(read_, member) || IsBeginningOf(read_, kCallEnd) ||
                      (qwen && IsBeginningOf(read_, kFunctionEnd));
  if (!begins) read_.clear();
  return Step::kGoesOn;
}

TaggedCall::Step TaggedCall::EndObject() {
  arguments_ += has_members_ ? "}" : "{}";
  whole_ = true;
  return Step::kDone;
}

TaggedCall::Step TaggedCall::Key(char c) {
  read_ += c;
  const bool qwen = format_ == ToolFormat::kQwenCoder;
  if (qwen ? c != '>' : !read_.ends_with(kKeyEnd)) return Step::kGoesOn;
  const size_t bytes = read_.size() - (qwen ? 1 : kKeyEnd.size());
  key_ = std::string(WithoutSpace(std::string_view(read_).substr(0, bytes)));
  read_.clear();
  state_ = qwen ? State::kValue : State::kBehindKey;
  if (qwen) BeginValue();
  return Step::kGoesOn;
}

TaggedCall::Step TaggedCall::BehindKey(char c) {
  if (c == '<') read_.clear();
  read_ += c;
  if (!IsBeginningOf(read_, kValueTag) && read_ != kValueTag) read_.clear();
  if (read_ != kValueTag) return Step::kGoesOn;
  read_.clear();
  state_ = State::kValue;
  BeginValue();
  return Step::kGoesOn;
}

void TaggedCall::BeginValue() {
  value_begun_ = false;
  if (!types_.IsText(key_)) return;  // told with its value
  arguments_ += has_members_ ? ", " : "{";
  has_members_ = true;
  arguments_ += Quoted(key_) + ": \"";
}

// The first bytes of what was read, which are text for certain.
void TaggedCall::TellText(size_t bytes) {
  AddEscaped(std::string_view(read_).substr(0, bytes), arguments_);
  read_.erase(0, bytes);
}

TaggedCall::Step TaggedCall::Value(char c) {
  const bool qwen = format_ == ToolFormat::kQwenCoder;
  if (!std::exchange(value_begun_, true) && qwen && c == '\n') return Step::kGoesOn;
  read_ += c;
  const std::string_view end = qwen ? kParameterEnd : kValueEnd;
  if (c == '>' && read_.ends_with(end)) {
    read_.resize(read_.size() - end.size());
    if (qwen && read_.ends_with('\n')) read_.pop_back();
    EndValue();
    return Step::kGoesOn;
  }
  if (!types_.IsText(key_)) return Step::kGoesOn;
  size_t held = BytesOfPartialMarker(read_, end);
  const size_t line_end = read_.size() - held;
  if (qwen && line_end > 0 && read_[line_end - 1] == '\n') ++held;
  TellText(read_.size() - held);
  return Step::kGoesOn;
}

void TaggedCall::EndValue() {
  if (types_.IsText(key_)) {
    TellText(read_.size());
    arguments_ += '"';
  } else {
    arguments_ += has_members_ ? ", " : "{";
    has_members_ = true;
    arguments_ += Quoted(key_) + ": " + AsJson(read_);
  }
  read_.clear();
  state_ = State::kTags;
}

std::string TaggedCall::AsJson(std::string_view value) const {
  const uint32_t types = types_.TypesOf(key_);
  const std::string_view bare = FromPython(WithoutSpace(value));
  // The parser takes a NUL for the end of its input.
  if (IsShallow(bare) && bare.find('\0') == std::string_view::npos) {
    const auto json = nlohmann::json::parse(bare, nullptr, false);
    if (!json.is_discarded() && (types & TypeOfJson(json)) != 0) return std::string(bare);
  }
  return Quoted(value);
}

}  // namespace millrace
