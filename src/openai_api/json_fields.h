// Reading an object's fields with types and ranges. Internal to openai_api/: the only headers with
// JSON types.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
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

// What a parser reads, noted while it reads: /openapi.json is made from that.
struct FieldInfo {
  enum class Type { kAny, kInteger, kNumber, kBoolean, kString };
  Type type = Type::kAny;
  double low = 0, high = 0;  // of numbers
};
using FieldTable = std::map<std::string, FieldInfo, std::less<>>;

// Keeps the first error; after it every read gives nothing. A null counts as absent.
class Fields {
 public:
  // `table`: where what is asked for is noted, whether it is there or not.
  explicit Fields(const Json& object, FieldTable* table = nullptr)
      : object_(object), table_(table) {}

  const Json* Find(std::string_view name);
  // Whether it is there and no null, without making it one of the known fields.
  bool Has(std::string_view name) const;
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
  void Note(std::string_view name, const FieldInfo& info);

  const Json& object_;
  FieldTable* table_;
  std::set<std::string, std::less<>> known_;
  std::optional<ApiError> error_;
};

// The fields that `read` asks for.
template <class Read>
FieldTable TableOf(Read read) {
  const Json nothing = Json::object();
  FieldTable table;
  Fields fields(nothing, &table);
  read(fields);
  return table;
}

}  // namespace millrace::openai_internal
