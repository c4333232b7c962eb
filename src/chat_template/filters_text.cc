// Filters that shorten, wrap or clean a text: truncate, wordwrap, striptags, forceescape; and
// filesizeformat.
#include <array>
#include <cstdio>

#include "chat_template/arguments.h"
#include "chat_template/escape.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/interpreter.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"
#include "chat_template/word_wrap.h"

namespace millrace::jinja {
namespace {

constexpr int64_t kTruncateLeeway = 5;  // Jinja's policy truncate.leeway

std::string_view RequireText(const Value& input, std::string_view filter) {
  RequireDefined(input);
  if (!input.is_string()) {
    Fail(std::string(filter) + " takes a string, not '" + std::string(TypeName(input)) + "'");
  }
  return input.as_string();
}

Value Truncate(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const int64_t length = bound.Int(0, 255);
  const std::string_view end = bound.Has(2) ? bound.String(2) : "...";
  const int64_t leeway = bound.Get(3) ? bound.Int(3, 0) : kTruncateLeeway;
  const auto end_length = static_cast<int64_t>(CodePointCount(end));
  if (length < end_length) {
    Fail("expected length >= " + std::to_string(end_length) + ", got " + std::to_string(length));
  }
  if (leeway < 0) Fail("expected leeway >= 0, got " + std::to_string(leeway));
  if (input.is_undefined()) return input;
  const std::string_view text = RequireText(input, "truncate()");
  interpreter.budget().Bytes(text.size());
  const auto points = static_cast<int64_t>(CodePointCount(text));
  if (points <= length || points - length <= leeway) return input;
  std::string_view kept = SubstringByCodePoints(text, 0, static_cast<size_t>(length - end_length));
  if (!bound.Bool(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return interpreter.MakeString(std::string(kept) + std::string(end));
}

Value WordWrap(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("wordwrap", arguments,
                             {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  const std::string_view text = RequireText(input, "wordwrap()");
  const std::string_view between = bound.Get(2) ? bound.String(2) : "\n";
  const WrapStyle style{bound.Int(0, 79), bound.Bool(1, true), bound.Bool(3, true)};
  std::string out;
  bool first = true;
  for (const std::string_view paragraph : SplitLines(text, LineEnds::kDrop)) {
    if (style.width < 1) Fail("invalid width " + std::to_string(style.width) + " (must be > 0)");
    interpreter.budget().Elements(paragraph.size());
    interpreter.budget().AllocateMany(paragraph.size(), 48);  // its code points and pieces
    std::vector<std::string> lines = WrapWords(paragraph, style);
    if (lines.empty()) lines.emplace_back();
    interpreter.budget().AllocateMany(lines.size(), between.size());
    for (const std::string& line : lines) {
      if (!first) out += between;
      out += line;
      first = false;
    }
  }
  return interpreter.MakeString(std::move(out));
}

// Without what stands from each `open` to the next `close`; an `open` that is not closed stays.
std::string Without(std::string_view text, std::string_view open, std::string_view close) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find(open, at);
    const size_t end = begin == text.npos ? text.npos : text.find(close, begin + open.size());
    out += text.substr(at, end == text.npos ? text.npos : begin - at);
    if (end == text.npos) break;
    at = end + close.size();
  }
  return out;
}

// The character that "&NAME;" or "&#NUMBER;" stands for; nothing where it is none of the numbers or
// of the names that escaping makes. (Python knows 2231 names.)
std::optional<std::string> Entity(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNames = {
      {{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", "\u00A0"}}};
  for (const auto& [known, text] : kNames) {
    if (name == known) return std::string(text);
  }
  if (name.size() < 2 || name.size() > 9 || name[0] != '#') return std::nullopt;
  const bool hex = name[1] == 'x' || name[1] == 'X';
  const std::string_view digits = name.substr(hex ? 2 : 1);
  if (digits.find_first_not_of(hex ? "0123456789abcdefABCDEF" : "0123456789") != digits.npos) {
    return std::nullopt;
  }
  const auto number = ParsePythonInt(digits, hex ? 16 : 10);
  if (!number) return std::nullopt;
  std::string out;
  const bool valid =
      *number > 0 && *number <= 0x10FFFF && !(*number >= 0xD800 && *number <= 0xDFFF);
  AppendUtf8(valid ? static_cast<char32_t>(*number) : U'\uFFFD', out);
  return out;
}

std::string Unescape(std::string_view text) {
  constexpr size_t kLongestEntity = 10;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text[at] == '&' ? text.substr(at, kLongestEntity + 1).find(';') : text.npos;
    const auto entity = end == text.npos ? std::nullopt : Entity(text.substr(at + 1, end - 1));
    if (entity) {
      out += *entity;
      at += end + 1;
    } else {
      out += text[at++];
    }
  }
  return out;
}

Value StripTags(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("striptags", arguments, {});
  const std::string text = interpreter.ToStr(input);
  interpreter.budget().AllocateMany(text.size(), 4);
  const std::string bare = Without(Without(text, "<!--", "-->"), "<", ">");
  std::string words;
  for (const std::string_view word : SplitWhitespace(bare, -1)) {
    if (!words.empty()) words += ' ';
    words += word;
  }
  return interpreter.MakeString(Unescape(words));
}

Value ForceEscape(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("forceescape", arguments, {});
  const std::string text = interpreter.ToStr(input);
  interpreter.budget().AllocateMany(text.size(), 6);
  return Value::SafeString(EscapeHtml(text));
}

Value FileSizeFormat(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("filesizeformat", arguments, {"binary"});
  RequireDefined(input);
  std::optional<double> bytes;
  if (const auto number = AsNumber(input)) bytes = number->real;
  if (!bytes && input.is_string()) bytes = ParsePythonFloat(input.as_string());
  if (!bytes) Fail("filesizeformat() takes a number, not '" + std::string(TypeName(input)) + "'");
  const bool binary = bound.Bool(0, false);
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) return Value::String("1 Byte");
  char buffer[400];  // the longest double has 309 digits before the point
  if (*bytes < base) {
    if (!(*bytes > -9e18)) Fail("filesizeformat() takes a number of 64 bits");
    std::snprintf(buffer, sizeof(buffer), "%lld Bytes", static_cast<long long>(*bytes));
    return interpreter.MakeString(buffer);
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  long double unit = static_cast<long double>(base) * base;  // a whole number, as Python has it
  size_t i = 0;
  for (; i + 1 < kPrefixes.size() && !(*bytes < unit); ++i) unit *= base;
  const char* const middle = binary ? "i" : "";
  const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
  std::snprintf(buffer, sizeof(buffer), "%.1f %c%sB", base * *bytes / static_cast<double>(unit),
                prefix, middle);
  return interpreter.MakeString(buffer);
}

constexpr FilterEntry kTextFilters[] = {
    {"truncate", Truncate},
    {"wordwrap", WordWrap},
    {"striptags", StripTags},
    {"forceescape", ForceEscape},
    {"filesizeformat", FileSizeFormat},
};

}  // namespace

std::span<const FilterEntry> TextFilters() { return kTextFilters; }

}  // namespace millrace::jinja
