// ArgumentTypes: which types of JSON the members of an object may have, by the schema of the
// object, as far as it can be told: where values are written without quotes, this says what they
// are.
//
// Invariant: never too narrow for a schema that json_schema.h takes. What is not understood may be
// anything.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace millrace {

// As bits.
enum ArgumentType : uint32_t {
  kNullArgument = 1,
  kBooleanArgument = 2,
  kNumberArgument = 4,
  kStringArgument = 8,
  kArrayArgument = 16,
  kObjectArgument = 32,
  kAnyArgument = 63,
};

class ArgumentTypes {
 public:
  ArgumentTypes() = default;
  // Of the members that `schema` (as text) names, wherever $ref, allOf, anyOf and oneOf lead.
  static ArgumentTypes Of(std::string_view schema);

  uint32_t TypesOf(const std::string& name) const {
    const auto known = types_.find(name);
    return known == types_.end() ? kAnyArgument : known->second;
  }
  bool IsText(const std::string& name) const { return TypesOf(name) == kStringArgument; }
  friend bool operator==(const ArgumentTypes&, const ArgumentTypes&) = default;

 private:
  std::map<std::string, uint32_t> types_;
};

}  // namespace millrace
