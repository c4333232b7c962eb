// Whether two schemas exclude one another, as far as that shows without looking at single values.
#include <algorithm>

#include "constrained_output/schema_compiler.h"

namespace millrace::constrained_internal {
namespace {

// Whether additional properties are forbidden outright.
bool IsClosed(const SchemaShape& shape) {
  return shape.pattern_properties.empty() &&
         std::any_of(shape.others.begin(), shape.others.end(), [](const Schema* schema) {
           return schema->is_boolean() && !schema->get<bool>();
         });
}

// Whether `a` requires a property that answers of `b` do not have.
bool AsksMore(const SchemaShape& a, const SchemaShape& b) {
  if (b.allows_others || !b.pattern_properties.empty()) return false;
  return std::any_of(a.required.begin(), a.required.end(), [&](const std::string& name) {
    return !b.IsRequired(name) &&
           std::none_of(b.properties.begin(), b.properties.end(),
                        [&](const auto& property) { return property.first == name; });
  });
}

}  // namespace

Result<bool> SchemaCompiler::Exclude(const Schema* a, const Schema* b, int depth) {
  constexpr int kDeepest = 4;
  if (depth > kDeepest) return false;
  ASSIGN_OR_RETURN(const Conjunction flat_a, document_.Flatten({a}));
  ASSIGN_OR_RETURN(const Conjunction flat_b, document_.Flatten({b}));
  ASSIGN_OR_RETURN(const SchemaShape x, SchemaShape::Of(flat_a, document_));
  ASSIGN_OR_RETURN(const SchemaShape y, SchemaShape::Of(flat_b, document_));
  if (x.values && y.values) {
    const auto is_shared = [&](const Schema* value) {
      return std::any_of(y.values->begin(), y.values->end(),
                         [&](const Schema* other) { return *value == *other; });
    };
    if (std::none_of(x.values->begin(), x.values->end(), is_shared)) return true;
  }
  const auto types_of = [](const SchemaShape& shape) {
    if (!shape.values) return shape.types;
    uint32_t types = 0;
    for (const Schema* value : *shape.values) types |= TypeOf(*value);
    return types & shape.types;
  };
  const uint32_t both = types_of(x) & types_of(y);
  if (both == 0) return true;
  if (both != kObject) return false;
  // What an answer of one alternative holds, the other must not allow, and the other way round:
  // answers hold no properties but those named, yet the schema itself may allow more.
  const bool x_asks_more = AsksMore(x, y), y_asks_more = AsksMore(y, x);
  if ((x_asks_more && y_asks_more) || (x_asks_more && IsClosed(y)) ||
      (y_asks_more && IsClosed(x))) {
    return true;
  }
  for (const auto& [name, schemas] : x.properties) {
    const auto other = std::find_if(
        y.properties.begin(), y.properties.end(),
        [&, wanted = &name](const auto& property) { return property.first == *wanted; });
    if (other == y.properties.end() || !x.IsRequired(name) || !y.IsRequired(name)) continue;
    for (const Schema* p : schemas) {
      for (const Schema* q : other->second) {
        ASSIGN_OR_RETURN(const bool apart, Exclude(p, q, depth + 1));
        if (apart) return true;
      }
    }
  }
  return false;
}

}  // namespace millrace::constrained_internal
