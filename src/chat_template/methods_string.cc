// Python's str methods that make or search text. A marked-safe text loses its mark here.
#include <algorithm>

#include "chat_template/arguments.h"
#include "chat_template/failure.h"
#include "chat_template/format.h"
#include "chat_template/interpreter.h"
#include "chat_template/methods.h"
#include "chat_template/text.h"

namespace millrace::jinja {
namespace {

using Strings = std::vector<std::string_view>;

Value StripWith(std::string_view name, StripSide side, Interpreter& interpreter, const Value& self,
                const CallArguments& arguments) {
  const BoundArguments bound(name, arguments, {"chars"});
  interpreter.budget().Bytes(self.as_string().size());
  std::optional<std::string_view> characters;
  if (bound.Get(0) != nullptr) {
    characters = bound.String(0);
    interpreter.budget().AllocateMany(characters->size(), sizeof(char32_t));
  }
  return interpreter.MakeString(std::string(Strip(self.as_string(), side, characters)));
}
Value StripBoth(Interpreter& i, const Value& self, const CallArguments& a) {
  return StripWith("strip", StripSide::kBoth, i, self, a);
}
Value StripLeft(Interpreter& i, const Value& self, const CallArguments& a) {
  return StripWith("lstrip", StripSide::kLeft, i, self, a);
}
Value StripRight(Interpreter& i, const Value& self, const CallArguments& a) {
  return StripWith("rstrip", StripSide::kRight, i, self, a);
}

Value ListOf(Interpreter& interpreter, const Strings& parts) {
  interpreter.budget().AllocateMany(parts.size(), sizeof(Value) + sizeof(Text));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts)
    items.push_back(interpreter.MakeString(std::string(part)));
  return interpreter.MakeList(std::move(items));
}

enum class From { kLeft, kRight };
Value SplitFrom(From from, std::string_view name, Interpreter& interpreter, const Value& self,
                const CallArguments& arguments) {
  const BoundArguments bound(name, arguments, {"sep", "maxsplit"});
  const int64_t limit = bound.Int(1, -1);
  const std::string_view text = self.as_string();
  interpreter.budget().AllocateMany(text.size(), 2 * sizeof(std::string_view));
  if (bound.Get(0) == nullptr) {
    return ListOf(interpreter, from == From::kLeft ? SplitWhitespace(text, limit)
                                                   : SplitWhitespaceFromRight(text, limit));
  }
  const std::string_view separator = bound.String(0);
  if (separator.empty()) Fail("empty separator");
  return ListOf(interpreter, from == From::kLeft ? Split(text, separator, limit)
                                                 : SplitFromRight(text, separator, limit));
}
Value SplitLeft(Interpreter& i, const Value& self, const CallArguments& a) {
  return SplitFrom(From::kLeft, "split", i, self, a);
}
Value SplitRight(Interpreter& i, const Value& self, const CallArguments& a) {
  return SplitFrom(From::kRight, "rsplit", i, self, a);
}

Value SplitIntoLines(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("splitlines", arguments, {"keepends"});
  interpreter.budget().AllocateMany(self.as_string().size(), sizeof(std::string_view));
  return ListOf(interpreter, SplitLines(self.as_string(),
                                        bound.Bool(0, false) ? LineEnds::kKeep : LineEnds::kDrop));
}

Value Partition(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("partition", arguments, {"sep"}, 1);
  const std::string_view text = self.as_string();
  const std::string_view separator = bound.String(0);
  if (separator.empty()) Fail("empty separator");
  interpreter.budget().Bytes(text.size());
  const size_t found = text.find(separator);
  const bool hit = found != std::string_view::npos;
  return interpreter.MakeTuple(
      {interpreter.MakeString(std::string(text.substr(0, found))),
       hit ? bound[0] : Value::String(""),
       interpreter.MakeString(std::string(hit ? text.substr(found + separator.size()) : ""))});
}

Value PartitionFromRight(Interpreter& interpreter, const Value& self,
                         const CallArguments& arguments) {
  const BoundArguments bound("rpartition", arguments, {"sep"}, 1);
  const std::string_view text = self.as_string();
  const std::string_view separator = bound.String(0);
  if (separator.empty()) Fail("empty separator");
  interpreter.budget().Bytes(text.size());
  const size_t found = text.rfind(separator);
  const bool hit = found != std::string_view::npos;
  return interpreter.MakeTuple(
      {interpreter.MakeString(std::string(hit ? text.substr(0, found) : "")),
       hit ? bound[0] : Value::String(""),
       interpreter.MakeString(std::string(hit ? text.substr(found + separator.size()) : text))});
}

// The part of the text between optional start and end, in code points, and where it begins.
struct Window {
  std::string_view text;
  size_t first;  // code points before it
  bool valid;    // false when start lies behind end or the text's end
};
Window WindowOf(std::string_view text, const BoundArguments& bound, size_t start_index) {
  if (!bound.Has(start_index) && !bound.Has(start_index + 1)) return {text, 0, true};
  const auto size = static_cast<int64_t>(CodePointCount(text));
  const auto resolve = [&](size_t index, int64_t fallback) {
    const Value* value = bound.Get(index);
    int64_t at = value == nullptr ? fallback : AsIndex(*value);
    if (at < 0) at = at < -size ? 0 : at + size;
    return at;
  };
  const int64_t start = resolve(start_index, 0);
  const int64_t end = std::min(resolve(start_index + 1, size), size);
  if (start > end) return {{}, 0, false};
  return {SubstringByCodePoints(text, static_cast<size_t>(start), static_cast<size_t>(end - start)),
          static_cast<size_t>(start), true};
}

std::optional<int64_t> FindIn(std::string_view name, From from, Interpreter& interpreter,
                              const Value& self, const CallArguments& arguments) {
  const BoundArguments bound(name, arguments, {"sub", "start", "end"}, 1);
  interpreter.budget().Bytes(self.as_string().size());
  const std::string_view needle = bound.String(0);
  const Window window = WindowOf(self.as_string(), bound, 1);
  if (!window.valid) return std::nullopt;
  const size_t found = from == From::kLeft ? window.text.find(needle) : window.text.rfind(needle);
  if (found == std::string_view::npos) return std::nullopt;
  return static_cast<int64_t>(window.first + CodePointCount(window.text.substr(0, found)));
}

Value Find(Interpreter& i, const Value& self, const CallArguments& a) {
  return Value::Int(FindIn("find", From::kLeft, i, self, a).value_or(-1));
}
Value FindFromRight(Interpreter& i, const Value& self, const CallArguments& a) {
  return Value::Int(FindIn("rfind", From::kRight, i, self, a).value_or(-1));
}
Value Index(Interpreter& i, const Value& self, const CallArguments& a) {
  const std::optional<int64_t> found = FindIn("index", From::kLeft, i, self, a);
  if (!found) Fail("substring not found");
  return Value::Int(*found);
}
Value IndexFromRight(Interpreter& i, const Value& self, const CallArguments& a) {
  const std::optional<int64_t> found = FindIn("rindex", From::kRight, i, self, a);
  if (!found) Fail("substring not found");
  return Value::Int(*found);
}

Value Count(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("count", arguments, {"sub", "start", "end"}, 1);
  interpreter.budget().Bytes(self.as_string().size());
  const std::string_view needle = bound.String(0);
  const Window window = WindowOf(self.as_string(), bound, 1);
  if (!window.valid) return Value::Int(0);
  if (needle.empty()) return Value::Int(static_cast<int64_t>(CodePointCount(window.text)) + 1);
  int64_t count = 0;
  for (size_t at = window.text.find(needle); at != std::string_view::npos;
       at = window.text.find(needle, at + needle.size())) {
    ++count;
  }
  return Value::Int(count);
}

enum class End { kStart, kEnd };
Value HasAffix(std::string_view name, End end, Interpreter& interpreter, const Value& self,
               const CallArguments& arguments) {
  const BoundArguments bound(name, arguments, {"prefix", "start", "end"}, 1);
  const Window window = WindowOf(self.as_string(), bound, 1);
  if (!window.valid) return Value::Bool(false);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_string()) {
      RequireDefined(affix);
      Fail(std::string(name) + " first arg must be str or a tuple of str, not " +
           std::string(TypeName(affix)));
    }
    interpreter.budget().Bytes(affix.as_string().size());
    return end == End::kStart ? window.text.starts_with(affix.as_string())
                              : window.text.ends_with(affix.as_string());
  };
  if (!bound[0].is_sequence(SequenceKind::kTuple)) return Value::Bool(matches(bound[0]));
  const auto& affixes = bound[0].as_sequence().items;
  interpreter.budget().Elements(affixes.size());
  return Value::Bool(std::any_of(affixes.begin(), affixes.end(), matches));
}
Value StartsWith(Interpreter& i, const Value& self, const CallArguments& a) {
  return HasAffix("startswith", End::kStart, i, self, a);
}
Value EndsWith(Interpreter& i, const Value& self, const CallArguments& a) {
  return HasAffix("endswith", End::kEnd, i, self, a);
}

Value RemovePrefix(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("removeprefix", arguments, {"prefix"}, 1);
  std::string_view text = self.as_string();
  if (text.starts_with(bound.String(0))) text.remove_prefix(bound.String(0).size());
  return interpreter.MakeString(std::string(text));
}
Value RemoveSuffix(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("removesuffix", arguments, {"suffix"}, 1);
  std::string_view text = self.as_string();
  if (text.ends_with(bound.String(0))) text.remove_suffix(bound.String(0).size());
  return interpreter.MakeString(std::string(text));
}

Value Replace(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"}, 2);
  return interpreter.MakeString(ReplaceText(interpreter.budget(), self.as_string(), bound.String(0),
                                            bound.String(1), bound.Int(2, -1)));
}

Value Join(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("join", arguments, {"iterable"}, 1);
  const auto items = interpreter.Iterate(bound[0]);
  std::string out;
  for (size_t i = 0; i < items->items.size(); ++i) {
    const Value& item = items->items[i];
    if (!item.is_string()) {
      Fail("sequence item " + std::to_string(i) + ": expected str instance, " +
           std::string(TypeName(item)) + " found");
    }
    interpreter.budget().Step();
    interpreter.budget().Allocate(item.as_string().size() + self.as_string().size());
    if (i != 0) out += self.as_string();
    out += item.as_string();
  }
  return interpreter.MakeString(std::move(out));
}

template <std::string (*kMap)(std::string_view)>
Value MapText(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("str method", arguments, {});
  interpreter.budget().AllocateMany(self.as_string().size(), 3);
  return interpreter.MakeString(kMap(self.as_string()));
}

Value Pad(std::string_view name, std::string_view align, Interpreter& interpreter,
          const Value& self, const CallArguments& arguments) {
  const BoundArguments bound(name, arguments, {"width", "fillchar"}, 1);
  const std::string_view fill = bound.Has(1) ? bound.String(1) : " ";
  if (CodePointCount(fill) != 1) Fail("The fill character must be exactly one character long");
  return interpreter.MakeString(
      PadText(interpreter.budget(), self.as_string(), AsIndex(bound[0]), align[0], fill));
}
Value Center(Interpreter& i, const Value& self, const CallArguments& a) {
  return Pad("center", "^", i, self, a);
}
Value JustifyLeft(Interpreter& i, const Value& self, const CallArguments& a) {
  return Pad("ljust", "<", i, self, a);
}
Value JustifyRight(Interpreter& i, const Value& self, const CallArguments& a) {
  return Pad("rjust", ">", i, self, a);
}

Value ZeroFill(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("zfill", arguments, {"width"}, 1);
  std::string_view text = self.as_string();
  int64_t width = AsIndex(bound[0]);
  std::string sign;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    sign = text[0];
    text.remove_prefix(1);
    if (width > 0) --width;
  }
  return interpreter.MakeString(sign + PadText(interpreter.budget(), text, width, '>', "0"));
}

Value ExpandTabs(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  const BoundArguments bound("expandtabs", arguments, {"tabsize"});
  const int64_t size = bound.Int(0, 8);
  std::string out;
  int64_t column = 0;
  interpreter.budget().Bytes(self.as_string().size());
  for (const char c : self.as_string()) {
    if (c == '\t') {
      const int64_t spaces = size > 0 ? size - column % size : 0;
      interpreter.budget().Allocate(static_cast<size_t>(spaces));
      out.append(static_cast<size_t>(spaces), ' ');
      column += spaces;
      continue;
    }
    out += c;
    if (c == '\n' || c == '\r') {
      column = 0;
    } else if ((static_cast<unsigned char>(c) & 0xC0u) != 0x80u) {
      ++column;
    }
  }
  return interpreter.MakeString(std::move(out));
}

Value Format(Interpreter& interpreter, const Value& self, const CallArguments& arguments) {
  return FormatBraces(interpreter, self.as_string(), arguments);
}

constexpr MethodEntry kMethods[] = {
    {"strip", StripBoth},
    {"split", SplitLeft},
    {"startswith", StartsWith},
    {"endswith", EndsWith},
    {"replace", Replace},
    {"lstrip", StripLeft},
    {"rstrip", StripRight},
    {"upper", MapText<ToUpper>},
    {"lower", MapText<ToLower>},
    {"title", MapText<ToTitle>},
    {"capitalize", MapText<Capitalize>},
    {"swapcase", MapText<SwapCase>},
    {"casefold", MapText<CaseFold>},
    {"rsplit", SplitRight},
    {"splitlines", SplitIntoLines},
    {"partition", Partition},
    {"rpartition", PartitionFromRight},
    {"find", Find},
    {"rfind", FindFromRight},
    {"index", Index},
    {"rindex", IndexFromRight},
    {"count", Count},
    {"join", Join},
    {"format", Format},
    {"removeprefix", RemovePrefix},
    {"removesuffix", RemoveSuffix},
    {"center", Center},
    {"ljust", JustifyLeft},
    {"rjust", JustifyRight},
    {"zfill", ZeroFill},
    {"expandtabs", ExpandTabs},
};

}  // namespace

std::span<const MethodEntry> StringMethods() { return kMethods; }

}  // namespace millrace::jinja
