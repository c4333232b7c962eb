// Filters over text: trim, replace, case, indent, tojson and the like.
#include "chat_template/arguments.h"
#include "chat_template/escape.h"
#include "chat_template/failure.h"
#include "chat_template/filters.h"
#include "chat_template/format.h"
#include "chat_template/interpreter.h"
#include "chat_template/json_writer.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

constexpr int64_t kMaxIndent = 1000;

template <std::string (*Change)(std::string_view)>
Value ChangeCase(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("filter", arguments, {});
  return interpreter.MakeString(Change(interpreter.ToStr(input)));
}

// jinja2's own title: only white space and -({[< begin a word, unlike str.title.
std::string TitleWords(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto begins = [&](size_t at) {
      const CodePoint c = Decode(text, at);
      return IsSpace(c.value) ||
             (c.value < 0x80 && std::string_view("-({[<").find(text[at]) != std::string_view::npos);
    };
    size_t end = i;
    const bool separators = begins(i);
    while (end < text.size() && begins(end) == separators) end += Decode(text, end).bytes;
    const std::string_view part = text.substr(i, end - i);
    const size_t first = Decode(part, 0).bytes;
    out += separators ? std::string(part)
                      : ToUpper(part.substr(0, first)) + ToLower(part.substr(first));
    i = end;
  }
  return out;
}

Value Trim(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("trim", arguments, {"chars"});
  const std::string text = interpreter.ToStr(input);
  const auto characters =
      bound.Get(0) ? std::optional<std::string_view>(bound.String(0)) : std::nullopt;
  return interpreter.MakeString(std::string(Strip(text, StripSide::kBoth, characters)));
}

Value Replace(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"}, 2);
  const std::string text = interpreter.ToStr(input);
  CallArguments call;
  call.positional = {Value::String(interpreter.ToStr(bound[0])),
                     Value::String(interpreter.ToStr(bound[1]))};
  if (bound.Get(2)) call.positional.push_back(bound[2]);
  return interpreter.Call(interpreter.GetAttribute(Value::String(text), "replace"), call);
}

Value ToString(Interpreter& interpreter, const Value& input, const CallArguments&) {
  if (input.is_string()) return input;
  return interpreter.MakeString(interpreter.ToStr(input));
}

Value Escape(Interpreter& interpreter, const Value& input, const CallArguments&) {
  if (input.is_safe()) return input;
  const std::string text = interpreter.ToStr(input);
  interpreter.budget().AllocateMany(text.size(), 6);
  return Value::SafeString(EscapeHtml(text));
}

Value MarkSafe(Interpreter& interpreter, const Value& input, const CallArguments&) {
  return Value::SafeString(interpreter.ToStr(input));
}

Value Indent(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("indent", arguments, {"width", "first", "blank"});
  std::string prefix;
  if (bound.Get(0) != nullptr && bound[0].is_string()) {
    prefix = bound[0].as_string();
  } else {
    const int64_t width = bound.Int(0, 4);
    if (width > kMaxIndent)
      FailTooLarge("indent() takes a width up to " + std::to_string(kMaxIndent));
    prefix.assign(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
  }
  const bool first = bound.Bool(1, false), blank = bound.Bool(2, false);
  const std::string text =
      interpreter.ToStr(input) + "\n";  // as jinja2 does: the last line end survives
  const auto lines = SplitLines(text, LineEnds::kDrop);
  interpreter.budget().AllocateMany(lines.size(), prefix.size() + 1);
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i == 0 ? first : (blank || !lines[i].empty())) out += prefix;
    out += lines[i];
  }
  return interpreter.MakeString(std::move(out));
}

Value ToJson(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("tojson", arguments,
                             {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  if (bound.Get(1)) {
    style.indent = std::max<int64_t>(0, AsIndex(bound[1]));
    if (*style.indent > kMaxIndent)
      FailTooLarge("tojson() takes an indent up to " + std::to_string(kMaxIndent));
    style.item_separator = ",";
  }
  if (bound.Get(2)) {
    const auto parts = interpreter.Iterate(bound[2]);
    if (parts->items.size() != 2 || !parts->items[0].is_string() || !parts->items[1].is_string()) {
      Fail("tojson() takes separators as a pair of strings");
    }
    style.item_separator = parts->items[0].as_string();
    style.key_separator = parts->items[1].as_string();
  }
  style.sort_keys = bound.Bool(3, false);
  std::string out;
  AppendJson(interpreter, input, style, 0, out);
  if (bound.Bool(0, false)) Fail("tojson() with ensure_ascii=True is not supported");
  return interpreter.MakeString(std::move(out));
}

Value WordCount(Interpreter& interpreter, const Value& input, const CallArguments&) {
  const std::string text = interpreter.ToStr(input);
  int64_t count = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    const bool word = IsWord(c.value);
    if (word && !in_word) ++count;
    in_word = word;
    i += c.bytes;
  }
  return Value::Int(count);
}

Value Format(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  if (!arguments.named.empty()) {
    Dict dict;
    for (const auto& [name, value] : arguments.named) dict.Set(name, value);
    return FormatPercent(interpreter, Value::String(interpreter.ToStr(input)),
                         interpreter.MakeDict(std::move(dict)));
  }
  return FormatPercent(interpreter, Value::String(interpreter.ToStr(input)),
                       interpreter.MakeTuple(arguments.positional));
}

Value Center(Interpreter& interpreter, const Value& input, const CallArguments& arguments) {
  const BoundArguments bound("center", arguments, {"width"});
  return interpreter.MakeString(
      PadText(interpreter.budget(), interpreter.ToStr(input), bound.Int(0, 80), '^', " "));
}

constexpr FilterEntry kStringFilters[] = {
    {"center", Center},
    {"upper", ChangeCase<ToUpper>},
    {"lower", ChangeCase<ToLower>},
    {"title", ChangeCase<TitleWords>},
    {"capitalize", ChangeCase<Capitalize>},
    {"trim", Trim},
    {"replace", Replace},
    {"string", ToString},
    {"escape", Escape},
    {"e", Escape},
    {"safe", MarkSafe},
    {"indent", Indent},
    {"tojson", ToJson},
    {"wordcount", WordCount},
    {"format", Format},
};

}  // namespace

std::span<const FilterEntry> StringFilters() { return kStringFilters; }

}  // namespace millrace::jinja
