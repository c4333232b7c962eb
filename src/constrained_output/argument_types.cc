#include "constrained_output/argument_types.h"

#include <memory>
#include <utility>

#include "constrained_output/schema_document.h"

namespace millrace {
namespace {

using constrained_internal::Schema;
using constrained_internal::SchemaDocument;

constexpr int kMaxDepth = 32;
constexpr int kMaxVisits = 20'000;  // of subschemas: references may lead to one place many times

uint32_t TypeOfValue(const Schema& value) {
  if (value.is_null()) return kNullArgument;
  if (value.is_boolean()) return kBooleanArgument;
  if (value.is_number()) return kNumberArgument;
  if (value.is_string()) return kStringArgument;
  return value.is_array() ? kArrayArgument : kObjectArgument;
}

uint32_t TypeNamed(const Schema& name) {
  static constexpr std::pair<const char*, uint32_t> kNames[] = {
      {"null", kNullArgument},     {"boolean", kBooleanArgument}, {"integer", kNumberArgument},
      {"number", kNumberArgument}, {"string", kStringArgument},   {"array", kArrayArgument},
      {"object", kObjectArgument}};
  for (const auto& [known, type] : kNames) {
    if (name == known) return type;
  }
  return kAnyArgument;
}

class TypeFinder {
 public:
  explicit TypeFinder(const SchemaDocument& document) : document_(document) {}

  // Adds what `schema` says of members.
  void Collect(const Schema& schema, int depth, std::map<std::string, uint32_t>& types) {
    if (!schema.is_object() || !MayVisit(depth)) return;
    if (const auto properties = schema.find("properties");
        properties != schema.end() && properties->is_object()) {
      for (const auto& [name, of] : properties->items()) types[name] |= Types(of, depth + 1);
    }
    if (const Schema* target = Target(schema)) Collect(*target, depth + 1, types);
    for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
      const auto parts = schema.find(keyword);
      if (parts == schema.end() || !parts->is_array()) continue;
      for (const Schema& part : *parts) Collect(part, depth + 1, types);
    }
  }
  bool is_exhausted() const { return visits_ > kMaxVisits; }

 private:
  bool MayVisit(int depth) { return depth < kMaxDepth && ++visits_ <= kMaxVisits; }

  const Schema* Target(const Schema& schema) const {
    const auto reference = schema.find("$ref");
    if (reference == schema.end()) return nullptr;
    const auto target = document_.Resolve(*reference, &schema);
    return target.ok() ? *target : nullptr;
  }

  uint32_t Types(const Schema& schema, int depth) {
    if (!schema.is_object() || !MayVisit(depth)) return kAnyArgument;
    uint32_t types = kAnyArgument;
    if (const auto type = schema.find("type"); type != schema.end()) {
      types = type->is_array() ? 0 : TypeNamed(*type);
      if (type->is_array()) {
        for (const Schema& one : *type) types |= TypeNamed(one);
      }
    }
    if (const auto value = schema.find("const"); value != schema.end()) {
      types &= TypeOfValue(*value);
    }
    if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
      uint32_t of_values = 0;
      for (const Schema& value : *values) of_values |= TypeOfValue(value);
      types &= of_values;
    }
    if (const Schema* target = Target(schema)) types &= Types(*target, depth + 1);
    for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
      const auto parts = schema.find(keyword);
      if (parts == schema.end() || !parts->is_array() || parts->empty()) continue;
      const bool all = std::string_view(keyword) == "allOf";
      uint32_t together = all ? uint32_t{kAnyArgument} : 0;
      for (const Schema& part : *parts) {
        const uint32_t of_part = Types(part, depth + 1);
        together = all ? together & of_part : together | of_part;
      }
      types &= together;
    }
    return types;
  }

  const SchemaDocument& document_;
  int visits_ = 0;
};

}  // namespace

ArgumentTypes ArgumentTypes::Of(std::string_view schema) {
  ArgumentTypes found;
  const auto document = SchemaDocument::Parse(schema);
  if (!document.ok()) return found;
  TypeFinder finder(**document);
  finder.Collect((*document)->root(), 0, found.types_);
  if (finder.is_exhausted()) found.types_.clear();
  for (auto& [name, types] : found.types_) {
    if (types == 0) types = kAnyArgument;  // nothing is allowed: whatever comes
  }
  return found;
}

}  // namespace millrace
