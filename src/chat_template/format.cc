#include "chat_template/format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/format_spec.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

constexpr int64_t kMaxPrecision = 100;  // digits behind the point

bool TakeOneOf(std::string_view& text, std::string_view set, char& out) {
  if (text.empty() || set.find(text[0]) == std::string_view::npos) return false;
  out = text[0];
  text.remove_prefix(1);
  return true;
}

FormatSpec ParseSpec(std::string_view text) {
  FormatSpec spec;
  constexpr std::string_view kAligns = "<>^=";
  if (!text.empty()) {
    const size_t first = Decode(text, 0).bytes;
    if (first < text.size() && kAligns.find(text[first]) != std::string_view::npos) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      text.remove_prefix(first + 1);
    } else {
      TakeOneOf(text, kAligns, spec.align);
    }
  }
  TakeOneOf(text, "+- ", spec.sign);
  char ignored;
  spec.alternate = TakeOneOf(text, "#", ignored);
  if (TakeOneOf(text, "0", ignored) && spec.align == '\0') {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = TakeNumber(text, kMaxFormatWidth);
  TakeOneOf(text, ",_", spec.grouping);
  if (TakeOneOf(text, ".", ignored)) {
    if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0])))
      Fail("Format specifier missing precision");
    spec.precision = TakeNumber(text, kMaxFormatWidth);
  }
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty()) Fail("Invalid format specifier");
  return spec;
}

void Group(std::string& digits, char separator) {
  size_t end = digits.find_first_not_of("0123456789");
  if (end == std::string::npos) end = digits.size();
  for (size_t at = end; at > 3;) {
    at -= 3;
    digits.insert(at, 1, separator);
  }
}

std::string IntegerDigits(uint64_t value, unsigned base, bool upper) {
  const char* const kDigits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out += kDigits[value % base];
    value /= base;
  } while (value != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string FloatDigits(double magnitude, char type, int64_t precision, bool alternate) {
  if (precision > kMaxPrecision)
    FailTooLarge("a format's precision is over " + std::to_string(kMaxPrecision));
  if (std::isnan(magnitude)) return std::isupper(static_cast<unsigned char>(type)) ? "NAN" : "nan";
  if (std::isinf(magnitude)) return std::isupper(static_cast<unsigned char>(type)) ? "INF" : "inf";
  if (type == '\0' && precision < 0) return ReprFloat(magnitude);
  const char conversion[] = {
      '%', alternate ? '#' : '.', alternate ? '.' : '*', alternate ? '*' : '\0', '\0', '\0'};
  std::string format(conversion);
  format += type == '\0' ? 'g' : type;
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format.c_str(),
                static_cast<int>(precision < 0 ? 6 : precision), magnitude);
  return buffer;
}

// Sign and digits, then the padding between or around them.
std::string Finish(Budget& budget, const FormatSpec& spec, bool negative, const std::string& prefix,
                   std::string digits) {
  if (spec.grouping != '\0') Group(digits, spec.grouping);
  std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  sign += prefix;
  const char align = spec.align == '\0' ? '>' : spec.align;
  if (align == '=') {
    const auto inner = spec.width - static_cast<int64_t>(sign.size());
    return sign + PadText(budget, digits, inner, '>', spec.fill);
  }
  return PadText(budget, sign + digits, spec.width, align, spec.fill);
}

}  // namespace

int64_t TakeNumber(std::string_view& text, int64_t limit) {
  int64_t value = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    value = value * 10 + (text[0] - '0');
    if (value > limit)
      FailTooLarge("a format's width or precision is over " + std::to_string(limit));
    text.remove_prefix(1);
  }
  return value;
}

std::string FormatInteger(Budget& budget, const FormatSpec& spec, int64_t value) {
  const bool negative = value < 0;
  const uint64_t magnitude =
      negative ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
  unsigned base = 10;
  std::string prefix;
  switch (spec.type) {
    case 'b':
      base = 2;
      prefix = "0b";
      break;
    case 'o':
      base = 8;
      prefix = "0o";
      break;
    case 'x':
      base = 16;
      prefix = "0x";
      break;
    case 'X':
      base = 16;
      prefix = "0X";
      break;
    case 'c': {
      if (negative || magnitude > 0x10FFFF) Fail("%c arg not in range(0x110000)");
      std::string text;
      AppendUtf8(static_cast<char32_t>(magnitude), text);
      return PadText(budget, text, spec.width, spec.align == '\0' ? '<' : spec.align, spec.fill);
    }
    default:
      break;
  }
  return Finish(budget, spec, negative, spec.alternate ? prefix : "",
                IntegerDigits(magnitude, base, spec.type == 'X'));
}

std::string FormatFloat(Budget& budget, const FormatSpec& spec, double value) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  const double magnitude = std::fabs(value);
  if (spec.type == '%') {
    return Finish(budget, spec, negative, "",
                  FloatDigits(magnitude * 100, 'f', spec.precision, false) + "%");
  }
  const char type = spec.type == 'n' ? 'g' : spec.type;
  return Finish(budget, spec, negative, "",
                FloatDigits(magnitude, type, spec.precision, spec.alternate));
}

std::string PadText(Budget& budget, std::string_view text, int64_t width, char align,
                    std::string_view fill) {
  const auto length = static_cast<int64_t>(CodePointCount(text));
  const int64_t missing = width > length ? width - length : 0;
  budget.AllocateMany(static_cast<uint64_t>(missing), fill.size());
  budget.Allocate(text.size());
  // str.center puts the odd one left when the width is odd; format() always right. The first is the
  // more common.
  const int64_t left = align == '>'   ? missing
                       : align == '^' ? missing / 2 + (missing & width & 1)
                                      : 0;
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

std::string ReplaceText(Budget& budget, std::string_view text, std::string_view old_text,
                        std::string_view new_text, int64_t count) {
  budget.Allocate(text.size());
  std::string out;
  int64_t done = 0;
  const auto more = [&] { return count < 0 || done < count; };
  if (old_text.empty()) {  // before every character and at the end
    size_t i = 0;
    while (more()) {
      budget.Allocate(new_text.size());
      out += new_text;
      ++done;
      if (i >= text.size()) return out;
      const size_t bytes = Decode(text, i).bytes;
      out += text.substr(i, bytes);
      i += bytes;
    }
    return out.append(text.substr(i));
  }
  size_t start = 0;
  while (more()) {
    const size_t found = text.find(old_text, start);
    if (found == std::string_view::npos) break;
    budget.Allocate(new_text.size());
    out.append(text.substr(start, found - start)).append(new_text);
    start = found + old_text.size();
    ++done;
  }
  return out.append(text.substr(start));
}

std::string FormatWithSpec(Interpreter& interpreter, const Value& value,
                           std::string_view specification) {
  if (specification.empty()) return interpreter.ToStr(value);
  const FormatSpec spec = ParseSpec(specification);
  Budget& budget = interpreter.budget();
  if (value.is_string()) {
    if (spec.type != '\0' && spec.type != 's') {
      Fail(std::string("Unknown format code '") + spec.type + "' for object of type 'str'");
    }
    std::string_view text = value.as_string();
    if (spec.precision >= 0)
      text = SubstringByCodePoints(text, 0, static_cast<size_t>(spec.precision));
    return PadText(budget, text, spec.width, spec.align == '\0' ? '<' : spec.align, spec.fill);
  }
  const std::optional<Number> number = AsNumber(value);
  if (!number)
    Fail("unsupported format string passed to " + std::string(TypeName(value)) + ".__format__");
  const bool float_type =
      spec.type != '\0' && std::string_view("eEfFgGn%").find(spec.type) != std::string_view::npos;
  if (number->is_float || float_type) return FormatFloat(budget, spec, number->real);
  if (spec.type != '\0' && std::string_view("bcdoxX").find(spec.type) == std::string_view::npos) {
    Fail(std::string("Unknown format code '") + spec.type + "' for object of type 'int'");
  }
  return FormatInteger(budget, spec, number->integer);
}

}  // namespace millrace::jinja
