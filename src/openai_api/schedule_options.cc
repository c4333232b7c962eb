#include "openai_api/schedule_options.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::openai_internal {
namespace {

constexpr int64_t kMaxDeadline = 24 * 60 * 60 * 1000;  // milliseconds
constexpr std::array<std::pair<std::string_view, int32_t>, 3> kNames = {
    {{"low", -1}, {"normal", 0}, {"high", 1}}};

std::optional<int64_t> IntBetween(const Json& value, int64_t low, int64_t high) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(high)) {
    return std::nullopt;
  }
  const auto number = value.get<int64_t>();
  return number >= low && number <= high ? std::optional(number) : std::nullopt;
}

void ParsePriority(Fields& fields, const Json& value, GenerationOptions& options) {
  for (const auto& [name, priority] : kNames) {
    if (value.is_string() && value.get_ref<const std::string&>() == name) {
      options.priority = priority;
      return;
    }
  }
  if (const auto number = IntBetween(value, -kMaxPriority, kMaxPriority)) {
    options.priority = static_cast<int32_t>(*number);
    return;
  }
  fields.Fail("millrace.priority",
              fmt::format("'millrace.priority' must be \"low\", \"normal\", \"high\" or an "
                          "integer from {} to {}.",
                          -kMaxPriority, kMaxPriority),
              "invalid_value");
}

}  // namespace

void ParseScheduleOptions(Fields& fields, GenerationOptions& options) {
  const Json* own = fields.Find("millrace");
  if (own == nullptr || !own->is_object()) return;  // no object: ParseCacheOptions says so
  if (const auto found = own->find("priority"); found != own->end() && !found->is_null()) {
    ParsePriority(fields, *found, options);
  }
  if (const auto found = own->find("deadline_ms"); found != own->end() && !found->is_null()) {
    options.deadline_ms = IntBetween(*found, 1, kMaxDeadline);
    if (!options.deadline_ms) {
      fields.Fail("millrace.deadline_ms",
                  fmt::format("'millrace.deadline_ms' must be an integer from 1 to {}: the "
                              "milliseconds that the whole answer may take.",
                              kMaxDeadline),
                  "invalid_value");
    }
  }
}

}  // namespace millrace::openai_internal
