// str() and repr() of values, as CPython writes them.
#include <charconv>
#include <cmath>
#include <cstdio>

#include "chat_template/objects.h"
#include "chat_template/text.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

void AppendItems(const std::vector<Value>& items, std::string_view open, std::string_view close,
                 std::string& out, Budget& budget) {
  budget.Elements(items.size());
  out += open;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ", ";
    AppendRepr(items[i], out, budget);
  }
  out += close;
}

void AppendSequence(const Sequence& sequence, std::string& out, Budget& budget) {
  switch (sequence.kind) {
    case SequenceKind::kList:
      AppendItems(sequence.items, "[", "]", out, budget);
      return;
    case SequenceKind::kTuple:
    case SequenceKind::kGroup:
      AppendItems(sequence.items, "(", sequence.items.size() == 1 ? ",)" : ")", out, budget);
      return;
    case SequenceKind::kDictKeys:
      AppendItems(sequence.items, "dict_keys([", "])", out, budget);
      return;
    case SequenceKind::kDictValues:
      AppendItems(sequence.items, "dict_values([", "])", out, budget);
      return;
    case SequenceKind::kDictItems:
      AppendItems(sequence.items, "dict_items([", "])", out, budget);
      return;
    case SequenceKind::kIterator:
      out += "<generator object>";
      return;
    case SequenceKind::kRange: {
      const auto& [start, stop, step] = sequence.range;
      out += "range(" + std::to_string(start) + ", " + std::to_string(stop);
      if (step != 1) out += ", " + std::to_string(step);
      out += ")";
      return;
    }
  }
}

void AppendDict(const Dict& dict, std::string& out, Budget& budget) {
  budget.Elements(dict.size());
  out += '{';
  bool first = true;
  for (const auto& [key, value] : dict.entries()) {
    if (!first) out += ", ";
    first = false;
    AppendRepr(key, out, budget);
    out += ": ";
    AppendRepr(value, out, budget);
  }
  out += '}';
}

void AppendObject(const Object& object, std::string& out, Budget& budget) {
  if (const auto* space = std::get_if<NamespaceObject>(&object.data)) {
    out += "<Namespace ";
    AppendDict(space->attributes, out, budget);
    out += '>';
  } else if (const auto* macro = std::get_if<MacroObject>(&object.data)) {
    const std::string& name = macro->definition->name;
    out += name.empty() ? "<Macro anonymous>" : "<Macro " + ReprString(name) + ">";
  } else if (const auto* loop = std::get_if<LoopObject>(&object.data)) {
    out += "<LoopContext " + std::to_string(loop->index + 1) + "/" +
           std::to_string(loop->items->items.size()) + ">";
  } else {
    out += "<" + std::string(object.type_name()) + ">";
  }
}

void AppendEscape(char32_t c, std::string& out) {
  char buffer[16];
  const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer, sizeof buffer, format, static_cast<unsigned>(c));
  out += buffer;
}

}  // namespace

std::string ReprFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto result =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view shortest(buffer, static_cast<size_t>(result.ptr - buffer));
  const size_t e = shortest.find('e');
  int exponent = 0;
  const char* digits_of_exponent = buffer + e + (shortest[e + 1] == '+' ? 2 : 1);
  std::from_chars(digits_of_exponent, result.ptr, exponent);
  // float_repr_style 'short': the plain form from 1e-4 up to below 1e16.
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  char plain[512];
  const auto fixed = std::to_chars(plain, plain + sizeof plain, value, std::chars_format::fixed);
  std::string out(plain, fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string ReprString(std::string_view text) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = Decode(text, i);
    if (c.value == static_cast<char32_t>(quote) || c.value == '\\') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value == '\n') {
      out += "\\n";
    } else if (c.value == '\r') {
      out += "\\r";
    } else if (c.value == '\t') {
      out += "\\t";
    } else if (IsPrintable(c.value)) {
      out += text.substr(i, c.bytes);
    } else {
      AppendEscape(c.value, out);
    }
    i += c.bytes;
  }
  out += quote;
  return out;
}

void AppendRepr(const Value& value, std::string& out, Budget& budget) {
  if (!value.is_string()) {
    if (value.is_undefined()) {
      out += "Undefined";
    } else {
      AppendStr(value, out, budget);
    }
    return;
  }
  budget.Allocate(value.as_string().size());
  if (value.is_safe()) out += "Markup(";
  out += ReprString(value.as_string());
  if (value.is_safe()) out += ')';
}

void AppendStr(const Value& value, std::string& out, Budget& budget) {
  switch (value.type()) {
    case ValueType::kUndefined:
      return;
    case ValueType::kNone:
      out += "None";
      return;
    case ValueType::kBool:
      out += value.as_bool() ? "True" : "False";
      return;
    case ValueType::kInt:
      out += std::to_string(value.as_int());
      return;
    case ValueType::kFloat:
      out += ReprFloat(value.as_float());
      return;
    case ValueType::kString:
      budget.Allocate(value.as_string().size());
      out += value.as_string();
      return;
    default:
      break;
  }
  const Budget::Level level(budget);
  budget.Allocate(16);
  if (value.is_sequence()) {
    AppendSequence(value.as_sequence(), out, budget);
  } else if (value.is_dict()) {
    AppendDict(value.as_dict(), out, budget);
  } else {
    AppendObject(value.as_object(), out, budget);
  }
}

std::string Str(const Value& value, Budget& budget) {
  std::string out;
  AppendStr(value, out, budget);
  return out;
}

std::string Repr(const Value& value, Budget& budget) {
  std::string out;
  AppendRepr(value, out, budget);
  return out;
}

}  // namespace millrace::jinja
