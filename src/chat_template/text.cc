#include "chat_template/text.h"

#include <algorithm>
#include <cstring>

#include "chat_template/text_internal.h"

namespace millrace::jinja {
namespace {

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

size_t PreviousStart(std::string_view text, size_t end) {
  // At most four bytes back; falls on the last byte alone when they form no valid sequence.
  for (size_t length = 1; length <= 4 && length <= end; ++length) {
    if (IsContinuation(static_cast<unsigned char>(text[end - length]))) continue;
    if (Decode(text.substr(0, end), end - length).bytes == length) return end - length;
    break;
  }
  return end - 1;
}

}  // namespace

bool IsAscii(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080u) return false;
  }
  for (; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) >= 0x80) return false;
  }
  return true;
}

CodePoint Decode(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t left = text.size() - position;
  const auto continuations = [&](size_t count) {
    if (left <= count) return false;
    for (size_t i = 1; i <= count; ++i) {
      if (!IsContinuation(byte(i))) return false;
    }
    return true;
  };
  if (first >= 0xC2 && first <= 0xDF && continuations(1)) {
    return {static_cast<char32_t>((first & 0x1Fu) << 6 | (byte(1) & 0x3Fu)), 2};
  }
  if ((first & 0xF0u) == 0xE0u && continuations(2)) {
    const char32_t c = (first & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF)) return {c, 3};
  }
  if (first >= 0xF0 && first <= 0xF4 && continuations(3)) {
    const char32_t c = (first & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
                       (byte(3) & 0x3Fu);
    if (c >= 0x10000 && c <= 0x10FFFF) return {c, 4};
  }
  return {kReplacement, 1};
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0u | c >> 6);
    out += static_cast<char>(0x80u | (c & 0x3Fu));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0u | c >> 12);
    out += static_cast<char>(0x80u | (c >> 6 & 0x3Fu));
    out += static_cast<char>(0x80u | (c & 0x3Fu));
  } else {
    out += static_cast<char>(0xF0u | c >> 18);
    out += static_cast<char>(0x80u | (c >> 12 & 0x3Fu));
    out += static_cast<char>(0x80u | (c >> 6 & 0x3Fu));
    out += static_cast<char>(0x80u | (c & 0x3Fu));
  }
}

size_t CodePointCount(std::string_view text) {
  if (IsAscii(text)) return text.size();
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += Decode(text, i).bytes) ++count;
  return count;
}

size_t ByteOffset(std::string_view text, size_t index) {
  if (IsAscii(text)) return std::min(index, text.size());
  size_t i = 0;
  for (; index > 0 && i < text.size(); --index) i += Decode(text, i).bytes;
  return i;
}

std::vector<std::string_view> SplitCodePoints(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t i = 0; i < text.size();) {
    const size_t bytes = Decode(text, i).bytes;
    out.push_back(text.substr(i, bytes));
    i += bytes;
  }
  return out;
}

std::string_view SubstringByCodePoints(std::string_view text, size_t start, size_t count) {
  text.remove_prefix(ByteOffset(text, start));
  return text.substr(0, ByteOffset(text, count));
}

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool IsAlpha(char32_t c) {
  const utf8proc_category_t category = CategoryOf(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDecimal(char32_t c) { return CategoryOf(c) == UTF8PROC_CATEGORY_ND; }

bool IsDigit(char32_t c) {
  return IsDecimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
         (c >= 0x2488 && c <= 0x2490) || (c >= 0x2776 && c <= 0x277E);
}

bool IsNumeric(char32_t c) {
  const utf8proc_category_t category = CategoryOf(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool IsUpper(char32_t c) { return CategoryOf(c) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t c) { return CategoryOf(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA; }

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (CategoryOf(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool IsWord(char32_t c) { return c == '_' || IsAlpha(c) || IsNumeric(c); }

std::string_view Strip(std::string_view text, StripSide side,
                       std::optional<std::string_view> characters) {
  std::vector<char32_t> set;
  if (characters) {
    for (size_t i = 0; i < characters->size();) {
      const CodePoint c = Decode(*characters, i);
      set.push_back(c.value);
      i += c.bytes;
    }
  }
  const auto strips = [&](char32_t c) {
    return characters ? std::find(set.begin(), set.end(), c) != set.end() : IsSpace(c);
  };
  if (side != StripSide::kRight) {
    size_t start = 0;
    while (start < text.size()) {
      const CodePoint c = Decode(text, start);
      if (!strips(c.value)) break;
      start += c.bytes;
    }
    text.remove_prefix(start);
  }
  if (side != StripSide::kLeft) {
    while (!text.empty()) {
      const size_t last = PreviousStart(text, text.size());
      if (!strips(Decode(text, last).value)) break;
      text = text.substr(0, last);
    }
  }
  return text;
}

std::vector<std::string_view> SplitLines(std::string_view text, LineEnds ends) {
  std::vector<std::string_view> out;
  size_t start = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    size_t next = i + c.bytes;
    if (IsLineEnd(c.value)) {
      if (c.value == '\r' && next < text.size() && text[next] == '\n') ++next;
      out.push_back(text.substr(start, (ends == LineEnds::kKeep ? next : i) - start));
      start = next;
    }
    i = next;
  }
  if (start < text.size()) out.push_back(text.substr(start));
  return out;
}

std::vector<std::string_view> SplitWhitespace(std::string_view text, int64_t max_splits) {
  std::vector<std::string_view> out;
  text = Strip(text, StripSide::kLeft);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<int64_t>(out.size()) >= max_splits) {
      out.push_back(Strip(text, StripSide::kRight));
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const CodePoint c = Decode(text, end);
      if (IsSpace(c.value)) break;
      end += c.bytes;
    }
    out.push_back(text.substr(0, end));
    text = Strip(text.substr(end), StripSide::kLeft);
  }
  return out;
}

std::vector<std::string_view> SplitWhitespaceFromRight(std::string_view text, int64_t max_splits) {
  std::vector<std::string_view> out;
  text = Strip(text, StripSide::kRight);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<int64_t>(out.size()) >= max_splits) {
      out.push_back(Strip(text, StripSide::kLeft));
      break;
    }
    size_t start = text.size();
    while (start > 0) {
      const size_t previous = PreviousStart(text, start);
      if (IsSpace(Decode(text, previous).value)) break;
      start = previous;
    }
    out.push_back(text.substr(start));
    text = Strip(text.substr(0, start), StripSide::kRight);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> Split(std::string_view text, std::string_view separator,
                                    int64_t max_splits) {
  std::vector<std::string_view> out;
  size_t start = 0;
  while (max_splits < 0 || static_cast<int64_t>(out.size()) < max_splits) {
    const size_t found = text.find(separator, start);
    if (found == std::string_view::npos) break;
    out.push_back(text.substr(start, found - start));
    start = found + separator.size();
  }
  out.push_back(text.substr(start));
  return out;
}

std::vector<std::string_view> SplitFromRight(std::string_view text, std::string_view separator,
                                             int64_t max_splits) {
  std::vector<std::string_view> out;
  while (max_splits < 0 || static_cast<int64_t>(out.size()) < max_splits) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    out.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  out.push_back(text);
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace millrace::jinja
