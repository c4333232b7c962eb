#include "openai_api/speculation_options.h"

namespace millrace::openai_internal {

// Whether "millrace" is an object at all is checked with the options of the prefix cache.
void ParseSpeculationOptions(Fields& fields, GenerationOptions& options) {
  const Json* own = fields.Find("millrace");
  if (own == nullptr || !own->is_object()) return;
  if (const auto found = own->find("speculate"); found != own->end() && !found->is_null()) {
    const auto parsed =
        found->is_string() ? ParseSpeculation(found->get<std::string>()) : ParseSpeculation("");
    if (parsed.ok()) {
      options.speculate = *parsed;
    } else {
      fields.Fail("millrace.speculate",
                  "'millrace.speculate' must be \"auto\", \"off\", \"lookup\", \"suffix\" or "
                  "\"draft\".",
                  "invalid_value");
    }
  }
  if (const auto found = own->find("explain"); found != own->end() && !found->is_null()) {
    if (!found->is_boolean()) {
      fields.Fail("millrace.explain", "'millrace.explain' must be true or false.", "invalid_type");
    } else if (found->get<bool>() && !options.stream) {
      fields.Fail("millrace.explain", "'millrace.explain' needs 'stream': true.", "invalid_value");
    } else {
      options.explain = found->get<bool>();
    }
  }
}

}  // namespace millrace::openai_internal
