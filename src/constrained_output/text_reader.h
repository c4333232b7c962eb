// TextReader: a cursor over the text of a grammar or a pattern.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "constrained_output/repeat.h"

namespace millrace::constrained_internal {

// A byte as messages show it.
inline std::string Printable(char c) {
  return c >= 0x20 && c < 0x7F ? std::string(1, c) : std::string("(a byte that cannot be shown)");
}

class TextReader {
 public:
  explicit TextReader(std::string_view text) : text_(text) {}

  size_t position() const { return at_; }
  size_t Left() const { return text_.size() - at_; }
  bool AtEnd() const { return at_ >= text_.size(); }
  // Past the end: a zero byte.
  char Peek(size_t ahead = 0) const { return ahead < Left() ? text_[at_ + ahead] : '\0'; }
  char Take() { return text_[at_++]; }
  bool Skip(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Skip(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  // A whole UTF-8 character, which is taken; nothing where there is none, or not a valid one.
  std::optional<uint32_t> Character() {
    if (AtEnd()) return std::nullopt;
    const auto lead = static_cast<uint8_t>(text_[at_]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 0 || lead > 0xF4 || Left() < length) return std::nullopt;
    uint32_t character = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; ++i) {
      const auto byte = static_cast<uint8_t>(text_[at_ + i]);
      if ((byte & 0xC0) != 0x80) return std::nullopt;
      character = character << 6 | (byte & 0x3Fu);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (character < kLeast[length] || character > 0x10FFFF ||
        (character >= 0xD800 && character <= 0xDFFF)) {
      return std::nullopt;
    }
    at_ += length;
    return character;
  }

  // So many hexadecimal digits, at most 8.
  std::optional<uint32_t> Hex(int digits) {
    uint32_t number = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = Peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return std::nullopt;
      number = number * 16 + static_cast<uint32_t>(digit);
      ++at_;
    }
    return number;
  }

  struct Repetition {
    int64_t least = 0;
    std::optional<int64_t> most;
  };
  // What stands behind the `{` of a repetition, with its `}`: "3}", "3,}" or "3,5}".
  std::optional<Repetition> Bounds() {
    const auto least = Number();
    if (!least) return std::nullopt;
    Repetition bounds{*least, *least};
    if (Skip(',')) {
      bounds.most.reset();
      if (Peek() != '}') {
        bounds.most = Number();
        if (!bounds.most || *bounds.most < *least) return std::nullopt;
      }
    }
    if (!Skip('}')) return std::nullopt;
    return bounds;
  }

 private:
  std::optional<int64_t> Number() {
    int64_t number = 0;
    size_t digits = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++digits) {
      number = number * 10 + (Take() - '0');
      if (number > kMaxRepetition) return std::nullopt;
    }
    return digits > 0 ? std::optional(number) : std::nullopt;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace millrace::constrained_internal
