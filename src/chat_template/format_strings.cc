// The two kinds of format strings: `%` and str.format.
#include <algorithm>
#include <cmath>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/format.h"
#include "chat_template/format_spec.h"
#include "chat_template/string_literal.h"
#include "chat_template/text.h"

namespace millrace::jinja {
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
    FormatSpec spec;
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
    spec.width = TakeNumber(format_, kMaxFormatWidth);
    if (format_.starts_with('.')) {
      format_.remove_prefix(1);
      spec.precision = TakeNumber(format_, kMaxFormatWidth);
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

  std::string One(FormatSpec spec, const Value& value) {
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
