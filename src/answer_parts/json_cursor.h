// JsonCursor: one JSON array or object (RFC 8259), a byte at a time: where it ends, and where it is
// no JSON any more.
//
// Invariant: after kDone or kWrong nothing more may be taken. Texts nested deeper than kMaxDepth
// are wrong. That strings are UTF-8 is the caller's to know.
#pragma once

#include <cstddef>
#include <string>

namespace millrace {

class JsonCursor {
 public:
  static constexpr size_t kMaxDepth = 128;
  enum class Step { kGoesOn, kDone, kWrong };

  Step Take(char c);
  size_t depth() const { return open_.size(); }  // brackets that are open
  bool in_string() const {
    return state_ == State::kString || state_ == State::kEscape || hex_ > 0;
  }
  bool in_key() const { return is_key_; }  // the string that is open, or was last, is a key
  bool before_value() const { return state_ == State::kValue; }
  bool behind_value() const { return state_ == State::kCommaOrEnd; }

 private:
  enum class State {
    kStart,       // of the whole
    kValue,       // a value must come
    kValueOrEnd,  // behind [
    kKey,         // behind a comma
    kKeyOrEnd,    // behind {
    kColon,
    kCommaOrEnd,  // behind a value
    kString,
    kEscape,  // behind a backslash
    kMinus,
    kZero,
    kDigits,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
    kWord,  // within true, false, null
  };
  Step Open(char c);
  Step Close(char c);
  Step BeginValue(char c);
  Step InNumber(char c);
  bool NumberMayEnd() const;

  State state_ = State::kStart;
  std::string open_;       // '{' and '['
  const char* word_ = "";  // what is left of it
  int hex_ = 0;            // digits of \uXXXX that are due
  bool is_key_ = false;
};

}  // namespace millrace
