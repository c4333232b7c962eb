// Reading an object's fields with types and ranges. Internal to openai_api/: the only headers with
// JSON types.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "openai_api/api_error.h"

namespace millrace::openai_internal {

using Json = nlohmann::ordered_json;

// Malformed JSON, too deep a nesting, strings that are not UTF-8: a 400.
ApiResult<Json> ParseJson(std::string_view text);
// The same, and the top must be an object.
ApiResult<Json> ParseJsonObject(std::string_view text);
std::string Dump(const Json& json);

// Keeps the first error; after it every read gives nothing. A null counts as absent.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  const Json* Find(std::string_view name);
  std::optional<int64_t> Int(std::string_view name, int64_t low, int64_t high);
  std::optional<double> Number(std::string_view name, double low, double high);
  std::optional<bool> Bool(std::string_view name);
  std::optional<std::string> String(std::string_view name);
  void Fail(std::string_view param, std::string message, std::string_view code = "");
  // Refuses what was never asked for.
  void RefuseOthers();

  bool ok() const { return !error_; }
  const ApiError& error() const { return *error_; }

 private:
  const Json& object_;
  std::set<std::string, std::less<>> known_;
  std::optional<ApiError> error_;
};

}  // namespace millrace::openai_internal
