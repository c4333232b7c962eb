#include "answer_parts/call_object.h"

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

// A string as JSON spells it -> its characters. The cursor has seen that it is one; a lone
// surrogate is not.
std::optional<std::string> DecodedString(std::string_view spelled) {
  const auto parsed = nlohmann::json::parse(spelled, nullptr, false);
  if (!parsed.is_string()) return std::nullopt;
  return parsed.get<std::string>();
}

bool IsObjectText(std::string_view text) {
  JsonCursor cursor;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto step = cursor.Take(text[i]);
    if (i == 0 && text[i] != '{') return false;
    if (step == JsonCursor::Step::kDone) {
      return text.find_first_not_of(" \n\r\t", i + 1) == std::string_view::npos;
    }
    if (step == JsonCursor::Step::kWrong) return false;
  }
  return false;
}

bool NamesArguments(std::string_view key) { return key == "arguments" || key == "parameters"; }

}  // namespace

std::string_view CallObject::arguments() const {
  if (decoded_) return *decoded_;
  if (!begun_) return {};
  return std::string_view(text_).substr(*begun_, end_.value_or(text_.size()) - *begun_);
}

// The value of a member of the outermost object has ended.
bool CallObject::EndValue() {
  const std::string_view value = std::string_view(text_).substr(*value_at_);
  value_at_.reset();
  if (key_ == "name" && !name_) {
    if (value.front() != '"') return false;
    name_ = DecodedString(value);
    return name_.has_value();
  }
  if (!NamesArguments(key_)) return true;
  if (begun_ && !end_) {
    end_ = text_.size();
    return true;
  }
  if (has_arguments()) return false;  // twice
  if (value == "null") {
    decoded_ = "{}";
    return true;
  }
  if (value.front() == '"') decoded_ = DecodedString(value);
  if (decoded_ && IsObjectText(*decoded_)) return true;
  decoded_.reset();
  return false;
}

CallObject::Step CallObject::Take(char c) {
  const bool was_in_string = cursor_.in_string(), begins = cursor_.before_value();
  const bool outermost = cursor_.depth() == 1;
  const Step step = cursor_.Take(c);
  if (step == Step::kWrong || (text_.empty() && c != '{')) return Step::kWrong;
  text_ += c;
  const bool is_space = !was_in_string && (c == ' ' || c == '\n' || c == '\t' || c == '\r');
  if (outermost && begins && !is_space) {
    value_at_ = text_.size() - 1;
    if (c == '{' && NamesArguments(key_) && !has_arguments()) begun_ = value_at_;
  }
  if (outermost && cursor_.in_key()) {
    if (!was_in_string && cursor_.in_string()) string_at_ = text_.size() - 1;
    if (was_in_string && !cursor_.in_string()) {
      key_ = DecodedString(std::string_view(text_).substr(string_at_)).value_or("");
    }
  }
  const bool ended = value_at_ && cursor_.behind_value() && cursor_.depth() == 1;
  if (ended && !EndValue()) {
    text_.pop_back();
    return Step::kWrong;
  }
  // Numbers end with what follows them.
  if (value_at_ && (step == Step::kDone || (outermost && c == ',' && !cursor_.in_string() &&
                                            cursor_.depth() == 1 && !cursor_.behind_value()))) {
    if (key_ == "name" || NamesArguments(key_)) {
      text_.pop_back();
      return Step::kWrong;
    }
    value_at_.reset();
  }
  if (step == Step::kDone && !name_) {
    text_.pop_back();
    return Step::kWrong;
  }
  return step;
}

}  // namespace millrace
