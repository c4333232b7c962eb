#include "chat_template/string_literal.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "chat_template/lexer.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The letters of a simple escape and what they stand for.
std::optional<char> SimpleEscape(char c) {
  switch (c) {
    case '\\':
      return '\\';
    case '\'':
      return '\'';
    case '"':
      return '"';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return std::nullopt;
  }
}

// Drops the underscores that Python allows between digits; nothing where one stands elsewhere.
std::optional<std::string> DropUnderscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool between =
        i > 0 && i + 1 < text.size() && HexDigit(text[i - 1]) >= 0 && HexDigit(text[i + 1]) >= 0;
    if (!between) return std::nullopt;
  }
  return out;
}

}  // namespace

std::string Unescape(std::string_view body, int line) {
  std::string out;
  out.reserve(body.size());
  for (size_t i = 0; i < body.size();) {
    if (body[i] != '\\' || i + 1 >= body.size()) {
      out += body[i++];
      continue;
    }
    const char letter = body[i + 1];
    if (const auto simple = SimpleEscape(letter)) {
      out += *simple;
      i += 2;
    } else if (letter == '\n') {
      i += 2;
    } else if (letter >= '0' && letter <= '7') {
      char32_t value = 0;
      size_t end = i + 1;
      for (; end < body.size() && end < i + 4 && body[end] >= '0' && body[end] <= '7'; ++end) {
        value = value * 8 + static_cast<char32_t>(body[end] - '0');
      }
      AppendUtf8(value, out);
      i = end;
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
      char32_t value = 0;
      for (size_t k = 0; k < digits; ++k) {
        const int digit = i + 2 + k < body.size() ? HexDigit(body[i + 2 + k]) : -1;
        if (digit < 0)
          FailAtLine(line, std::string("a \\") + letter + " escape needs " +
                               std::to_string(digits) + " hexadecimal digits");
        value = value << 4 | static_cast<char32_t>(digit);
      }
      if (value > 0x10FFFF) FailAtLine(line, "a \\U escape is past the last Unicode character");
      // A lone surrogate has no UTF-8 form.
      AppendUtf8(value >= 0xD800 && value <= 0xDFFF ? 0xFFFD : value, out);
      i += 2 + digits;
    } else if (letter == 'N') {
      FailAtLine(line, "\\N{...} escapes are not supported; write the character itself");
    } else {
      out += '\\';
      ++i;
    }
  }
  return out;
}

double ParseFloatLiteral(const std::string& digits) { return std::strtod(digits.c_str(), nullptr); }

std::optional<double> ParsePythonFloat(std::string_view text) {
  text = Strip(text, StripSide::kBoth);
  const auto plain = DropUnderscores(text);
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view body = *plain;
  const bool negative = body[0] == '-';
  if (body[0] == '-' || body[0] == '+') body.remove_prefix(1);
  const std::string lower = ToLower(body);
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (body.empty() || !(body[0] == '.' || (body[0] >= '0' && body[0] <= '9')))
      return std::nullopt;
    const auto result = std::from_chars(body.data(), body.data() + body.size(), value);
    if (result.ptr != body.data() + body.size()) return std::nullopt;
    if (result.ec == std::errc::result_out_of_range)
      value = std::strtod(std::string(body).c_str(), nullptr);
  }
  return negative ? -value : value;
}

std::optional<int64_t> ParsePythonInt(std::string_view text, int base) {
  text = Strip(text, StripSide::kBoth);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefixed != 0 && (base == prefixed || base == 0)) {
      text.remove_prefix(2);
      if (text[0] == '_') text.remove_prefix(1);
      base = prefixed;
    }
  }
  if (base == 0) base = 10;
  const auto plain = DropUnderscores(text);
  if (!plain || plain->empty() || (*plain)[0] == '-') return std::nullopt;
  uint64_t value = 0;
  const char* end = plain->data() + plain->size();
  const auto result = std::from_chars(plain->data(), end, value, base);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + (negative ? 1u : 0u))
    return std::nullopt;
  return negative ? static_cast<int64_t>(~value + 1) : static_cast<int64_t>(value);
}

}  // namespace millrace::jinja
