#include "chat_template/json_writer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "chat_template/failure.h"
#include "chat_template/value_ops.h"

namespace millrace::jinja {
namespace {

void AppendJsonString(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (u < 0x20) {
          out += "\\u00";
          out += kHex[u >> 4];
          out += kHex[u & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return ReprFloat(value);
}

std::string KeyText(const Value& key) {
  if (key.is_string()) return std::string(key.as_string());
  if (key.is_none()) return "null";
  if (key.is_bool()) return key.as_bool() ? "true" : "false";
  if (key.is_int()) return std::to_string(key.as_int());
  if (key.is_float()) return FloatText(key.as_float());
  Fail("keys must be str, int, float, bool or None, not " + std::string(TypeName(key)));
}

void NewLine(Interpreter& interpreter, const JsonStyle& style, int level, std::string& out) {
  if (!style.indent) return;
  interpreter.budget().Allocate(static_cast<size_t>(*style.indent * level) + 1);
  out += '\n';
  out.append(static_cast<size_t>(*style.indent * level), ' ');
}

// Between two items: with an indent the separator's trailing space is not written, as json.dumps
// does.
void Separate(Interpreter& interpreter, const JsonStyle& style, int level, bool first,
              std::string& out) {
  interpreter.budget().Bytes(style.item_separator.size() + style.key_separator.size());
  if (!first) out += style.item_separator;
  NewLine(interpreter, style, level, out);
}

void AppendObject(Interpreter& interpreter, const Dict& dict, const JsonStyle& style, int level,
                  std::string& out) {
  if (dict.empty()) {
    out += "{}";
    return;
  }
  std::vector<std::pair<std::string, const Value*>> entries;
  for (const auto& [key, value] : dict.entries()) entries.emplace_back(KeyText(key), &value);
  if (style.sort_keys) {
    std::stable_sort(entries.begin(), entries.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  out += '{';
  for (size_t i = 0; i < entries.size(); ++i) {
    Separate(interpreter, style, level + 1, i == 0, out);
    AppendJsonString(entries[i].first, out);
    out += style.key_separator;
    AppendJson(interpreter, *entries[i].second, style, level + 1, out);
  }
  NewLine(interpreter, style, level, out);
  out += '}';
}

}  // namespace

void AppendJson(Interpreter& interpreter, const Value& value, const JsonStyle& style, int level,
                std::string& out) {
  interpreter.budget().Step();
  const size_t before = out.size();
  if (value.is_none()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_float()) {
    out += FloatText(value.as_float());
  } else if (value.is_string()) {
    interpreter.budget().Allocate(value.as_string().size());
    AppendJsonString(value.as_string(), out);
  } else if (value.is_dict()) {
    AppendObject(interpreter, value.as_dict(), style, level, out);
  } else if (value.is_sequence(SequenceKind::kList) || value.is_sequence(SequenceKind::kTuple)) {
    const std::vector<Value>& items = value.as_sequence().items;
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      Separate(interpreter, style, level + 1, i == 0, out);
      AppendJson(interpreter, items[i], style, level + 1, out);
    }
    if (!items.empty()) NewLine(interpreter, style, level, out);
    out += ']';
  } else {
    Fail("Object of type " + std::string(TypeName(value)) + " is not JSON serializable");
  }
  interpreter.budget().Bytes(out.size() - before);
}

}  // namespace millrace::jinja
