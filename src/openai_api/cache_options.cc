#include "openai_api/cache_options.h"

#include <fmt/format.h>

namespace millrace::openai_internal {
namespace {

constexpr size_t kMaxSaltBytes = 256;

// "on" and "off", as on the command line, or true and false.
void ParseSwitch(Fields& fields, const Json& value, const char* param, bool& target) {
  if (value.is_boolean()) {
    target = value.get<bool>();
  } else if (value == "on" || value == "off") {
    target = value == "on";
  } else if (!value.is_null()) {
    fields.Fail(param, fmt::format("'{}' must be \"on\" or \"off\".", param), "invalid_value");
  }
}

}  // namespace

void ParseCacheOptions(Fields& fields, GenerationOptions& options) {
  options.cache_salt = fields.String("cache_salt").value_or("");
  if (options.cache_salt.size() > kMaxSaltBytes) {
    fields.Fail("cache_salt", fmt::format("'cache_salt' is longer than {} bytes.", kMaxSaltBytes));
  }
  // OpenAI's hint for choosing a machine: there is one, and prefixes are found without it.
  fields.String("prompt_cache_key");
  const Json* own = fields.Find("millrace");
  if (own == nullptr) return;
  if (!own->is_object()) {
    fields.Fail("millrace", "'millrace' must be an object.", "invalid_type");
    return;
  }
  if (const auto found = own->find("prefix_cache"); found != own->end()) {
    ParseSwitch(fields, *found, "millrace.prefix_cache", options.prefix_cache);
  }
  if (const auto found = own->find("pin"); found != own->end() && !found->is_null()) {
    if (!found->is_boolean()) {
      fields.Fail("millrace.pin", "'millrace.pin' must be true or false.", "invalid_type");
    } else {
      options.pin = found->get<bool>();
    }
  }
}

}  // namespace millrace::openai_internal
