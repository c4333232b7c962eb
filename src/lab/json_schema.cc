#include "lab/json_schema.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

namespace millrace {
namespace {

using AnyJson = nlohmann::json;

constexpr std::string_view kKeywords[] = {
    "type",      "enum",     "const",    "properties", "required", "additionalProperties",
    "items",     "minItems", "maxItems", "minimum",    "maximum",  "minLength",
    "maxLength", "pattern",  "anyOf",    "allOf",      "title",    "description",
    "$schema",   "$id",      "default",  "examples"};
constexpr int kMostDepth = 64;

bool IsType(const AnyJson& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
  }
  return false;
}

bool HasType(const AnyJson& types, const AnyJson& value) {
  if (types.is_string()) return IsType(value, types.get<std::string>());
  return std::any_of(types.begin(), types.end(), [&](const AnyJson& t) {
    return t.is_string() && IsType(value, t.get<std::string>());
  });
}

Status CheckNode(const AnyJson& schema, int depth) {
  if (schema.is_boolean()) return {};
  if (!schema.is_object()) return Error{"a JSON schema must be an object"};
  if (depth > kMostDepth) return Error{"the JSON schema is nested too deeply"};
  for (const auto& [key, value] : schema.items()) {
    if (std::find(std::begin(kKeywords), std::end(kKeywords), key) == std::end(kKeywords))
      return Error{"the JSON schema uses '" + key + "', which is not supported here"};
    const auto wrong = [&] { return Error{"the JSON schema's '" + key + "' has a wrong value"}; };
    if (key == "properties") {
      if (!value.is_object()) return wrong();
      for (const auto& [name, child] : value.items()) RETURN_IF_ERROR(CheckNode(child, depth + 1));
    } else if (key == "items" || key == "additionalProperties") {
      RETURN_IF_ERROR(CheckNode(value, depth + 1));
    } else if (key == "anyOf" || key == "allOf") {
      if (!value.is_array()) return wrong();
      for (const AnyJson& child : value) RETURN_IF_ERROR(CheckNode(child, depth + 1));
    } else if (key == "enum" || key == "required") {
      if (!value.is_array()) return wrong();
    } else if (key.starts_with("min") || key.starts_with("max")) {
      if (!value.is_number()) return wrong();
    } else if (key == "pattern") {
      if (!value.is_string()) return wrong();
      try {
        std::regex(value.get<std::string>());
      } catch (const std::regex_error&) {
        return wrong();
      }
    }
  }
  return {};
}

double Bound(const AnyJson& schema, const char* key, double fallback) {
  return schema.contains(key) ? schema[key].get<double>() : fallback;
}

bool InBounds(const AnyJson& schema, const char* low, const char* high, double value) {
  return value >= Bound(schema, low, value) && value <= Bound(schema, high, value);
}

bool Fits(const AnyJson& schema, const AnyJson& value);

bool ObjectFits(const AnyJson& schema, const AnyJson& value) {
  if (schema.contains("required")) {
    for (const AnyJson& name : schema["required"]) {
      if (name.is_string() && !value.contains(name.get<std::string>())) return false;
    }
  }
  const AnyJson none = AnyJson::object();
  const AnyJson& properties = schema.contains("properties") ? schema["properties"] : none;
  for (const auto& [name, member] : value.items()) {
    if (properties.contains(name)) {
      if (!Fits(properties[name], member)) return false;
    } else if (schema.contains("additionalProperties") &&
               !Fits(schema["additionalProperties"], member)) {
      return false;
    }
  }
  return true;
}

bool ArrayFits(const AnyJson& schema, const AnyJson& value) {
  if (!InBounds(schema, "minItems", "maxItems", static_cast<double>(value.size()))) return false;
  if (!schema.contains("items")) return true;
  return std::all_of(value.begin(), value.end(),
                     [&](const AnyJson& item) { return Fits(schema["items"], item); });
}

bool StringFits(const AnyJson& schema, const std::string& value) {
  // Lengths in code points.
  const auto points = std::count_if(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
  if (!InBounds(schema, "minLength", "maxLength", static_cast<double>(points))) return false;
  if (!schema.contains("pattern")) return true;
  return std::regex_search(value, std::regex(schema["pattern"].get<std::string>()));
}

bool Fits(const AnyJson& schema, const AnyJson& value) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("type") && !HasType(schema["type"], value)) return false;
  if (schema.contains("const") && schema["const"] != value) return false;
  const auto fits = [&](const AnyJson& child) { return Fits(child, value); };
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return false;
  }
  if (schema.contains("anyOf") &&
      std::none_of(schema["anyOf"].begin(), schema["anyOf"].end(), fits)) {
    return false;
  }
  if (schema.contains("allOf") &&
      !std::all_of(schema["allOf"].begin(), schema["allOf"].end(), fits)) {
    return false;
  }
  if (value.is_object()) return ObjectFits(schema, value);
  if (value.is_array()) return ArrayFits(schema, value);
  if (value.is_string()) return StringFits(schema, value.get<std::string>());
  if (value.is_number()) return InBounds(schema, "minimum", "maximum", value.get<double>());
  return true;
}

}  // namespace

Status CheckSchema(std::string_view schema) {
  const AnyJson parsed = AnyJson::parse(schema, nullptr, false);
  if (parsed.is_discarded()) return Error{"the JSON schema is no JSON"};
  return CheckNode(parsed, 0);
}

bool FitsSchema(std::string_view schema, std::string_view text) {
  const AnyJson value = AnyJson::parse(text, nullptr, false);
  return !value.is_discarded() && Fits(AnyJson::parse(schema, nullptr, false), value);
}

}  // namespace millrace
