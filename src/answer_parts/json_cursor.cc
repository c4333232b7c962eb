#include "answer_parts/json_cursor.h"

#include <string_view>

namespace millrace {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHexDigit(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool IsJsonSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

}  // namespace

JsonCursor::Step JsonCursor::Open(char c) {
  if (open_.size() >= kMaxDepth) return Step::kWrong;
  open_ += c;
  state_ = c == '{' ? State::kKeyOrEnd : State::kValueOrEnd;
  return Step::kGoesOn;
}

JsonCursor::Step JsonCursor::Close(char c) {
  if (open_.empty() || open_.back() != (c == '}' ? '{' : '[')) return Step::kWrong;
  open_.pop_back();
  state_ = State::kCommaOrEnd;
  return open_.empty() ? Step::kDone : Step::kGoesOn;
}

JsonCursor::Step JsonCursor::BeginValue(char c) {
  const auto to = [this](State state) {
    state_ = state;
    return Step::kGoesOn;
  };
  switch (c) {
    case '{':
    case '[':
      return Open(c);
    case '"':
      is_key_ = false;
      return to(State::kString);
    case '-':
      return to(State::kMinus);
    case '0':
      return to(State::kZero);
    case 't':
      word_ = "rue";
      return to(State::kWord);
    case 'f':
      word_ = "alse";
      return to(State::kWord);
    case 'n':
      word_ = "ull";
      return to(State::kWord);
    default:
      return IsDigit(c) ? to(State::kDigits) : Step::kWrong;
  }
}

bool JsonCursor::NumberMayEnd() const {
  return state_ == State::kZero || state_ == State::kDigits || state_ == State::kFraction ||
         state_ == State::kExponentDigits;
}

// What ends a number is taken as what follows a value.
JsonCursor::Step JsonCursor::InNumber(char c) {
  const bool digit = IsDigit(c);
  State next = state_;
  if (state_ == State::kMinus && digit) {
    next = c == '0' ? State::kZero : State::kDigits;
  } else if ((state_ == State::kZero || state_ == State::kDigits) && c == '.') {
    next = State::kPoint;
  } else if (state_ == State::kPoint && digit) {
    next = State::kFraction;
  } else if (NumberMayEnd() && state_ != State::kExponentDigits && (c == 'e' || c == 'E')) {
    next = State::kExponent;
  } else if (state_ == State::kExponent && (c == '+' || c == '-')) {
    next = State::kExponentSign;
  } else if ((state_ == State::kExponent || state_ == State::kExponentSign) && digit) {
    next = State::kExponentDigits;
  } else if (digit && NumberMayEnd() && state_ != State::kZero) {
    next = state_;
  } else if (NumberMayEnd()) {
    state_ = State::kCommaOrEnd;
    return Take(c);
  } else {
    return Step::kWrong;
  }
  state_ = next;
  return Step::kGoesOn;
}

JsonCursor::Step JsonCursor::Take(char c) {
  if (hex_ > 0) {
    if (!IsHexDigit(c)) return Step::kWrong;
    --hex_;
    return Step::kGoesOn;
  }
  const bool is_token = state_ != State::kString && state_ != State::kEscape &&
                        state_ != State::kWord && state_ < State::kMinus;
  if (is_token && IsJsonSpace(c)) return Step::kGoesOn;
  switch (state_) {
    case State::kStart:
      return c == '{' || c == '[' ? Open(c) : Step::kWrong;
    case State::kValueOrEnd:
      if (c == ']') return Close(c);
      return BeginValue(c);
    case State::kValue:
      return BeginValue(c);
    case State::kKeyOrEnd:
      if (c == '}') return Close(c);
      [[fallthrough]];
    case State::kKey:
      if (c != '"') return Step::kWrong;
      is_key_ = true;
      state_ = State::kString;
      return Step::kGoesOn;
    case State::kColon:
      if (c != ':') return Step::kWrong;
      state_ = State::kValue;
      return Step::kGoesOn;
    case State::kCommaOrEnd:
      if (c == '}' || c == ']') return Close(c);
      if (c != ',') return Step::kWrong;
      state_ = open_.back() == '{' ? State::kKey : State::kValue;
      return Step::kGoesOn;
    case State::kString:
      if (static_cast<unsigned char>(c) < 0x20) return Step::kWrong;
      if (c == '\\') state_ = State::kEscape;
      if (c == '"') state_ = is_key_ ? State::kColon : State::kCommaOrEnd;
      return Step::kGoesOn;
    case State::kEscape:
      if (std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos) return Step::kWrong;
      if (c == 'u') hex_ = 4;
      state_ = State::kString;
      return Step::kGoesOn;
    case State::kWord:
      if (c != *word_) return Step::kWrong;
      if (*++word_ == '\0') state_ = State::kCommaOrEnd;
      return Step::kGoesOn;
    default:
      return InNumber(c);
  }
}

}  // namespace millrace
