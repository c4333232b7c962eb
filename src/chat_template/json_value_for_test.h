// JSON -> Value, for tests only: the module itself reads no JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "chat_template/value.h"

namespace millrace {

inline jinja::Value ValueForTest(const nlohmann::ordered_json& json) {
  using jinja::Value;
  if (json.is_boolean()) return Value::Bool(json.get<bool>());
  if (json.is_number_integer()) return Value::Int(json.get<int64_t>());
  if (json.is_number_float()) return Value::Float(json.get<double>());
  if (json.is_string()) return Value::String(json.get<std::string>());
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto& item : json) items.push_back(ValueForTest(item));
    return Value::List(std::move(items));
  }
  if (json.is_object()) {
    jinja::Dict dict;
    for (const auto& [key, value] : json.items()) dict.Set(key, ValueForTest(value));
    return Value::Map(std::move(dict));
  }
  return Value::None();
}

}  // namespace millrace
