// UTF-8 and the character classes that the pre-tokenisers' patterns need.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::tokenizer_internal {

enum class Utf8Kind {
  kValid,       // a character
  kInvalid,     // bytes that begin no character
  kIncomplete,  // the text ends within a character
};

struct Utf8Step {
  Utf8Kind kind;
  uint8_t length;  // bytes: of the character, or of the maximal subpart (Unicode 15, section 3.9)
  uint32_t code_point;  // of a valid character
};

// Looks at text[pos...]; pos < text.size(). Overlong forms, surrogates and values over U+10FFFF are
// invalid.
Utf8Step DecodeUtf8(std::string_view text, size_t pos);

bool IsUtf8(std::string_view text);

void AppendUtf8(uint32_t code_point, std::string& out);

// Classes as bits. A character of none of them ("other") has 0; so do bytes that are no character.
enum CharClass : uint8_t {
  kLetter = 1,        // general category L
  kNumber = 2,        // N
  kSpace = 4,         // the property White_Space
  kNewline = 8,       // \r and \n, which are kSpace too
  kPunctuation = 16,  // P
};

struct ClassifiedChar {
  uint8_t classes;
  uint8_t length;
  bool Is(uint8_t any_of) const { return (classes & any_of) != 0; }
};

namespace utf8_internal {
constexpr uint8_t ClassesOfAscii(int c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return kLetter;
  if (c >= '0' && c <= '9') return kNumber;
  if (c == '\r' || c == '\n') return kSpace | kNewline;
  if (c == ' ' || (c >= 9 && c <= 13)) return kSpace;
  constexpr std::string_view kSymbols = "$+<=>^`|~";  // category S, not P
  if (c > 32 && c < 127 && kSymbols.find(static_cast<char>(c)) == std::string_view::npos) {
    return kPunctuation;
  }
  return 0;
}

constexpr std::array<uint8_t, 128> MakeAsciiTable() {
  std::array<uint8_t, 128> table{};
  for (int c = 0; c < 128; ++c) table[static_cast<size_t>(c)] = ClassesOfAscii(c);
  return table;
}

inline constexpr std::array<uint8_t, 128> kAsciiClasses = MakeAsciiTable();

ClassifiedChar ClassifyBeyondAscii(std::string_view text, size_t pos);
}  // namespace utf8_internal

inline ClassifiedChar ClassifyAt(std::string_view text, size_t pos) {
  const auto byte = static_cast<unsigned char>(text[pos]);
  if (byte < 128) return {utf8_internal::kAsciiClasses[byte], 1};
  return utf8_internal::ClassifyBeyondAscii(text, pos);
}

}  // namespace millrace::tokenizer_internal
