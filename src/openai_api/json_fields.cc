#include "openai_api/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "openai_api/request_parser.h"

namespace millrace::openai_internal {
namespace {

constexpr size_t kLongestShownName = 100;  // bytes of a client's text repeated in a message

struct Extent {
  int depth = 0;       // the deepest nesting of brackets outside strings
  size_t members = 0;  // of the longest object, at least
};

// Counted on the text, before anything recursive or quadratic sees it. For a text that is not JSON
// the numbers mean nothing, but then the parser refuses it.
Extent Measure(std::string_view text) {
  Extent extent;
  std::vector<size_t> colons;  // of the objects and arrays that are open
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      colons.push_back(0);
      extent.depth = std::max(extent.depth, static_cast<int>(colons.size()));
      if (extent.depth > kMaxJsonDepth) return extent;
    } else if (c == '}' || c == ']') {
      if (!colons.empty()) colons.pop_back();
    } else if (c == ':' && !colons.empty()) {
      extent.members = std::max(extent.members, ++colons.back());
    }
  }
  return extent;
}

}  // namespace

ApiResult<Json> ParseJson(std::string_view text) {
  ApiError error;
  const Extent extent = Measure(text);
  if (extent.depth > kMaxJsonDepth) {
    error.message =
        fmt::format("The JSON body is nested deeper than {} levels: flatten it.", kMaxJsonDepth);
    return error;
  }
  if (extent.members > kMaxJsonMembers) {
    error.message = fmt::format("An object in the JSON body has more than {} fields: split it.",
                                kMaxJsonMembers);
    return error;
  }
  if (const size_t nul = text.find('\0'); nul != text.npos) {  // for the parser, the end
    error.message = fmt::format("The body is not valid JSON: byte {} of it is a NUL.", nul + 1);
    return error;
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    std::string why = e.what();
    if (const size_t at = why.find("parse error"); at != std::string::npos) why = why.substr(at);
    error.message = "The body is not valid JSON: " + why.substr(0, 300);
    return error;
  }
}

ApiResult<Json> ParseJsonObject(std::string_view text) {
  ApiResult<Json> parsed = ParseJson(text);
  const Json* json = std::get_if<Json>(&parsed);
  if (json == nullptr || json->is_object()) return parsed;
  ApiError error;
  error.message = "The body must be a JSON object.";
  return error;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Fields::Fail(std::string_view param, std::string message, std::string_view code) {
  if (error_) return;
  error_.emplace();
  error_->message = std::move(message);
  error_->param = std::string(param);
  error_->code = std::string(code);
}

void Fields::Note(std::string_view name, const FieldInfo& info) {
  if (table_ == nullptr) return;
  const auto [at, added] = table_->try_emplace(std::string(name), info);
  if (!added && at->second.type == FieldInfo::Type::kAny) at->second = info;
}

const Json* Fields::Find(std::string_view name) {
  known_.emplace(name);
  Note(name, {});
  if (error_) return nullptr;
  const auto found = object_.find(std::string(name));
  if (found == object_.end() || found->is_null()) return nullptr;
  return &*found;
}

bool Fields::Has(std::string_view name) const {
  const auto found = object_.find(std::string(name));
  return found != object_.end() && !found->is_null();
}

std::optional<double> Fields::Number(std::string_view name, double low, double high) {
  Note(name, {FieldInfo::Type::kNumber, low, high});
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    Fail(name, fmt::format("'{}' must be a number.", name), "invalid_type");
    return std::nullopt;
  }
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) {
    Fail(name, fmt::format("'{}' is {}, but must be from {} to {}.", name, number, low, high),
         "invalid_value");
    return std::nullopt;
  }
  return number;
}

std::optional<int64_t> Fields::Int(std::string_view name, int64_t low, int64_t high) {
  Note(name, {FieldInfo::Type::kInteger, static_cast<double>(low), static_cast<double>(high)});
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (std::isnan(number) || number != std::floor(number)) {
    Fail(name, fmt::format("'{}' must be an integer.", name), "invalid_type");
    return std::nullopt;
  }
  if (number < static_cast<double>(low) || number > static_cast<double>(high) ||
      (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) ||
      (value->is_number_float() && std::abs(number) > 0x1p53)) {
    Fail(name, fmt::format("'{}' must be from {} to {}.", name, low, high), "invalid_value");
    return std::nullopt;
  }
  return value->is_number_float() ? static_cast<int64_t>(number) : value->get<int64_t>();
}

std::optional<bool> Fields::Bool(std::string_view name) {
  Note(name, {FieldInfo::Type::kBoolean});
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    Fail(name, fmt::format("'{}' must be true or false.", name), "invalid_type");
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<std::string> Fields::String(std::string_view name) {
  Note(name, {FieldInfo::Type::kString});
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    Fail(name, fmt::format("'{}' must be a string.", name), "invalid_type");
    return std::nullopt;
  }
  return value->get<std::string>();
}

void Fields::RefuseOthers() {
  for (const auto& [name, value] : object_.items()) {
    if (known_.find(name) == known_.end()) {
      const std::string shown = name.substr(0, kLongestShownName);
      Fail(
          shown,
          fmt::format("The field '{}' is unknown, and this server is strict: leave it out.", shown),
          "unknown_parameter");
      return;
    }
  }
}

}  // namespace millrace::openai_internal
