// Strings as Python sees them: sequences of code points over UTF-8 bytes.
//
// Invariant: every function accepts any bytes. A byte that starts no valid UTF-8 sequence counts as
// one code point and is copied through unchanged, so nothing here can fail or read past the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::jinja {

bool IsAscii(std::string_view text);

// The code point that begins at `position` (< text.size()) and its length in bytes; U+FFFD and 1
// for an invalid byte.
struct CodePoint {
  char32_t value;
  size_t bytes;
};
CodePoint Decode(std::string_view text, size_t position);
void AppendUtf8(char32_t code_point, std::string& out);

size_t CodePointCount(std::string_view text);
// The byte offset of code point `index`; text.size() when there are fewer.
size_t ByteOffset(std::string_view text, size_t index);
// Every code point as its own bytes.
std::vector<std::string_view> SplitCodePoints(std::string_view text);
// `count` code points from `start`.
std::string_view SubstringByCodePoints(std::string_view text, size_t start, size_t count);

bool IsSpace(char32_t c);    // str.isspace
bool IsAlpha(char32_t c);    // str.isalpha
bool IsDecimal(char32_t c);  // str.isdecimal
bool IsDigit(char32_t c);    // str.isdigit
bool IsNumeric(char32_t c);  // str.isnumeric
bool IsUpper(char32_t c);
bool IsLower(char32_t c);
bool IsPrintable(char32_t c);
bool IsWord(char32_t c);  // \w of a regular expression

std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
std::string ToTitle(
    std::string_view text);  // str.title: a capital after every letter that follows a non-letter
std::string Capitalize(std::string_view text);
std::string SwapCase(std::string_view text);
std::string ToTitleFirst(
    std::string_view text);  // the first code point in title case, the rest unchanged

// str.casefold.
std::string CaseFold(std::string_view text);
// str.isupper, str.islower: some letter has a case, and all that have one have this one.
bool IsUpperText(std::string_view text);
bool IsLowerText(std::string_view text);

enum class StripSide { kLeft, kRight, kBoth };
// str.strip and its kin; without `characters`, white space.
std::string_view Strip(std::string_view text, StripSide side,
                       std::optional<std::string_view> characters = std::nullopt);

enum class LineEnds { kKeep, kDrop };
std::vector<std::string_view> SplitLines(std::string_view text, LineEnds ends);
// str.split() without a separator: runs of white space separate. `max_splits` < 0 means no limit.
std::vector<std::string_view> SplitWhitespace(std::string_view text, int64_t max_splits);
std::vector<std::string_view> SplitWhitespaceFromRight(std::string_view text, int64_t max_splits);
// With a separator, which must not be empty.
std::vector<std::string_view> Split(std::string_view text, std::string_view separator,
                                    int64_t max_splits);
std::vector<std::string_view> SplitFromRight(std::string_view text, std::string_view separator,
                                             int64_t max_splits);

}  // namespace millrace::jinja
