#include "chat_template/format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;  // of one padded field
constexpr int64_t kMaxPrecision = 100;  // digits behind the point

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0';
  char sign = '-';
  bool alternate = false;
  char grouping = '\0';
  int64_t width = 0;
  int64_t precision = -1;  // absent
  char type = '\0';
};

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

bool TakeOneOf(std::string_view& text, std::string_view set, char& out) {
  if (text.empty() || set.find(text[0]) == std::string_view::npos) return false;
  out = text[0];
  text.remove_prefix(1);
  return true;
}

Spec ParseSpec(std::string_view text) {
  Spec spec;
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
  spec.width = TakeNumber(text, kMaxWidth);
  TakeOneOf(text, ",_", spec.grouping);
  if (TakeOneOf(text, ".", ignored)) {
    if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0])))
      Fail("Format specifier missing precision");
    spec.precision = TakeNumber(text, kMaxWidth);
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
std::string Finish(Budget& budget, const Spec& spec, bool negative, const std::string& prefix,
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

std::string FormatInteger(Budget& budget, const Spec& spec, int64_t value) {
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

std::string FormatFloat(Budget& budget, const Spec& spec, double value) {
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

}  // namespace

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
  const Spec spec = ParseSpec(specification);
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

namespace {

// printf-style formatting, "The Python Standard Library", 4.7.2.
class PercentFormatter {
 public:
  PercentFormatter(Interpreter& interpreter, std::string_view format, const Value& values)
      : interpreter_(interpreter), format_(format), values_(values) {}

  std::string Run() {
    while (!format_.empty()) {
      const size_t percent = format_.find('%');
      out_ += format_.substr(0, percent);
      if (percent == std::string_view::npos) break;
      format_.remove_prefix(percent + 1);
      Convert();
    }
    if (values_.is_sequence(SequenceKind::kTuple) && next_ < values_.as_sequence().items.size())
      FailUnused();
    if (!values_.is_sequence(SequenceKind::kTuple) && !values_.is_dict() && next_ == 0 && !by_name_)
      FailUnused();
    return std::move(out_);
  }

 private:
  [[noreturn]] void FailUnused() { Fail("not all arguments converted during string formatting"); }

  Value NextValue() {
    if (!values_.is_sequence(SequenceKind::kTuple)) {
      if (next_++ > 0) Fail("not enough arguments for format string");
      return values_;
    }
    const auto& items = values_.as_sequence().items;
    if (next_ >= items.size()) Fail("not enough arguments for format string");
    return items[next_++];
  }

  Value NamedValue() {
    const size_t end = format_.find(')');
    if (end == std::string_view::npos) Fail("incomplete format key");
    if (!values_.is_dict()) Fail("format requires a mapping");
    const Value* found = values_.as_dict().Find(format_.substr(1, end - 1));
    if (found == nullptr)
      Fail("no such key in the format's mapping: " + ReprString(format_.substr(1, end - 1)));
    format_.remove_prefix(end + 1);
    by_name_ = true;
    return *found;
  }

  void Convert() {
    std::optional<Value> named;
    if (format_.starts_with('(')) named = NamedValue();
    Spec spec;
    spec.align = '>';
    bool left = false, zero = false;
    for (; !format_.empty() && std::string_view("-+ #0").find(format_[0]) != std::string_view::npos;
         format_.remove_prefix(1)) {
      const char flag = format_[0];
      left |= flag == '-';
      zero |= flag == '0';
      spec.alternate |= flag == '#';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    spec.width = TakeNumber(format_, kMaxWidth);
    if (format_.starts_with('.')) {
      format_.remove_prefix(1);
      spec.precision = TakeNumber(format_, kMaxWidth);
    }
    if (format_.empty()) Fail("incomplete format");
    spec.type = format_[0];
    format_.remove_prefix(1);
    if (spec.type == '%') {
      out_ += '%';
      return;
    }
    const Value value = named ? *named : NextValue();
    if (left) {
      spec.align = '<';
    } else if (zero && spec.type != 's' && spec.type != 'r') {
      spec.align = '=';
      spec.fill = "0";
    }
    out_ += One(spec, value);
  }

  std::string One(Spec spec, const Value& value) {
    Budget& budget = interpreter_.budget();
    if (spec.type == 's' || spec.type == 'r' || spec.type == 'a' ||
        (spec.type == 'c' && value.is_string())) {
      const std::string full =
          spec.type == 'r' || spec.type == 'a' ? Repr(value, budget) : interpreter_.ToStr(value);
      std::string_view text = full;
      if (spec.precision >= 0)
        text = SubstringByCodePoints(text, 0, static_cast<size_t>(spec.precision));
      return PadText(budget, text, spec.width, spec.align, spec.fill);
    }
    RequireDefined(value);
    const std::optional<Number> number = AsNumber(value);
    if (!number)
      Fail(std::string("%") + spec.type + " format: a number is required, not " +
           std::string(TypeName(value)));
    if (std::string_view("eEfFgG").find(spec.type) != std::string_view::npos) {
      return FormatFloat(budget, spec, number->real);
    }
    if (std::string_view("diuxXoc").find(spec.type) == std::string_view::npos) {
      Fail(std::string("unsupported format character '") + spec.type + "'");
    }
    if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
    if (number->is_float && !(std::fabs(number->real) < 9e18))
      Fail("cannot convert this float to an integer");
    return FormatInteger(budget, spec,
                         number->is_float ? static_cast<int64_t>(number->real) : number->integer);
  }

  Interpreter& interpreter_;
  std::string_view format_;
  const Value& values_;
  std::string out_;
  size_t next_ = 0;
  bool by_name_ = false;
};

// str.format: `{}`, `{0}`, `{name.attribute[item]!r:spec}`.
class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const CallArguments& arguments)
      : interpreter_(interpreter), arguments_(arguments) {}

  std::string Run(std::string_view format, int nesting) {
    if (nesting < 0) Fail("Max string recursion exceeded");
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
      const char c = format[i];
      if (c != '{' && c != '}') {
        out += c;
      } else if (i + 1 < format.size() && format[i + 1] == c) {
        out += c;
        ++i;
      } else if (c == '}') {
        Fail("Single '}' encountered in format string");
      } else {
        const size_t end = FieldEnd(format, i + 1);
        out += Field(format.substr(i + 1, end - i - 1), nesting);
        i = end;
      }
    }
    interpreter_.budget().Allocate(out.size());
    return out;
  }

 private:
  static size_t FieldEnd(std::string_view format, size_t at) {
    int open = 1;
    for (; at < format.size(); ++at) {
      if (format[at] == '{') ++open;
      if (format[at] == '}' && --open == 0) return at;
    }
    Fail("expected '}' before end of string");
  }

  std::string Field(std::string_view field, int nesting) {
    interpreter_.budget().Step();
    const size_t brackets_end = field.rfind(']');
    const size_t colon =
        field.find(':', brackets_end == std::string_view::npos || field.find(':') < field.find('[')
                            ? 0
                            : brackets_end);
    std::string_view name = field.substr(0, colon);
    const std::string spec =
        colon == std::string_view::npos ? "" : Run(field.substr(colon + 1), nesting - 1);
    char conversion = '\0';
    if (name.size() >= 2 && name[name.size() - 2] == '!') {
      conversion = name.back();
      name.remove_suffix(2);
    }
    Value value = Resolve(name);
    if (conversion == 'r' || conversion == 'a')
      value = Value::String(Repr(value, interpreter_.budget()));
    if (conversion == 's') value = Value::String(interpreter_.ToStr(value));
    return FormatWithSpec(interpreter_, value, spec);
  }

  Value Resolve(std::string_view name) {
    const size_t end = std::min(name.find('.'), name.find('['));
    Value value = Argument(name.substr(0, end));
    std::string_view rest = end == std::string_view::npos ? std::string_view() : name.substr(end);
    while (!rest.empty()) {
      interpreter_.budget().Step();
      if (rest[0] == '.') {
        const size_t stop = std::min({rest.find('.', 1), rest.find('[', 1), rest.size()});
        value = interpreter_.GetAttribute(value, rest.substr(1, stop - 1));
        rest.remove_prefix(stop);
      } else {
        const size_t stop = rest.find(']');
        if (rest[0] != '[' || stop == std::string_view::npos) Fail("Missing ']' in format string");
        const std::string_view key = rest.substr(1, stop - 1);
        const std::optional<int64_t> index = ParsePythonInt(key, 10);
        value = interpreter_.GetItem(value,
                                     index ? Value::Int(*index) : Value::String(std::string(key)));
        rest.remove_prefix(stop + 1);
      }
    }
    return value;
  }

  Value Argument(std::string_view name) {
    const bool number = !name.empty() && std::all_of(name.begin(), name.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    if (name.empty() || number) {
      const std::optional<int64_t> index =
          name.empty() ? static_cast<int64_t>(next_++) : ParsePythonInt(name, 10);
      if (!index || static_cast<size_t>(*index) >= arguments_.positional.size()) {
        Fail("Replacement index out of range for positional args tuple");
      }
      return arguments_.positional[static_cast<size_t>(*index)];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    Fail("no argument named " + ReprString(name) + " for the format");
  }

  Interpreter& interpreter_;
  const CallArguments& arguments_;
  size_t next_ = 0;
};

}  // namespace

Value FormatPercent(Interpreter& interpreter, const Value& format, const Value& values) {
  interpreter.budget().Bytes(format.as_string().size());
  return interpreter.MakeString(PercentFormatter(interpreter, format.as_string(), values).Run());
}

Value FormatBraces(Interpreter& interpreter, std::string_view format,
                   const CallArguments& arguments) {
  return interpreter.MakeString(BraceFormatter(interpreter, arguments).Run(format, 2));
}

}  // namespace millrace::jinja
