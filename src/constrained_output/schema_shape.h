// SchemaShape: what the keywords of one schema, or of several that must all hold, ask for together;
// alternatives (anyOf, oneOf) and references are not in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "constrained_output/number_range.h"
#include "constrained_output/schema_document.h"

namespace millrace::constrained_internal {

// The types of JSON, as bits; kInteger is part of kNumber.
enum JsonType : uint32_t {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,  // numbers that are no integers
  kNumber = kInteger | kFraction,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyType = 127,
};
uint32_t TypeOf(const Schema& value);

struct SchemaShape {
  uint32_t types = kAnyType;
  std::optional<std::vector<const Schema*>> values;  // of enum and const
  NumberRange number;                                // `integer` is not used
  int64_t min_length = 0;
  std::optional<int64_t> max_length;
  std::vector<std::string> patterns;  // and of formats
  std::vector<Conjunction> prefix;    // prefixItems
  Conjunction items;                  // of those behind
  int64_t min_items = 0;
  std::optional<int64_t> max_items;
  std::vector<std::pair<std::string, Conjunction>> properties;  // in order
  std::vector<std::string> required;
  std::vector<std::pair<std::string, Conjunction>> pattern_properties;
  Conjunction others;          // additionalProperties
  bool allows_others = false;  // whether there are any
  Conjunction property_names;
  int64_t min_properties = 0;
  std::optional<int64_t> max_properties;

  // Of flattened schemas. Errors name the keyword and the place.
  static Result<SchemaShape> Of(const Conjunction& schemas, const SchemaDocument& document);

  bool IsRequired(const std::string& name) const;
  bool ConstrainsObjects() const;
  bool ConstrainsArrays() const;
};

}  // namespace millrace::constrained_internal
