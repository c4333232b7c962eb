#include "constrained_output/schema_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "constrained_output/schema_formats.h"

namespace millrace::constrained_internal {
namespace {

constexpr std::string_view kIgnored[] = {"$ref",
                                         "allOf",
                                         "anyOf",
                                         "oneOf",
                                         "$defs",
                                         "definitions",
                                         "title",
                                         "description",
                                         "default",
                                         "example",
                                         "examples",
                                         "$schema",
                                         "$id",
                                         "id",
                                         "$anchor",
                                         "$comment",
                                         "deprecated",
                                         "readOnly",
                                         "writeOnly",
                                         "contentMediaType",
                                         "contentEncoding",
                                         "externalDocs",
                                         "xml",
                                         "discriminator"};

constexpr std::pair<std::string_view, uint32_t> kTypeNames[] = {
    {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kNumber},
    {"string", kString}, {"array", kArray},     {"object", kObject}};

// Reads the keywords of one schema into the shape.
class ShapeReader {
 public:
  ShapeReader(SchemaShape& shape, const Schema* schema, const SchemaDocument& document)
      : shape_(shape), schema_(schema), document_(document) {}

  // `hinted`: the types that the keywords are about.
  Status Read(uint32_t& hinted, bool& has_type) {
    if (schema_->is_boolean()) {
      if (!schema_->get<bool>()) shape_.types = 0;
      return {};
    }
    if (!schema_->is_object()) {
      return Error{
          fmt::format("The schema at '{}' must be an object.", document_.PlaceOf(schema_))};
    }
    for (const auto& [keyword, value] : schema_->items()) {
      has_type |= keyword == "type" || keyword == "enum" || keyword == "const";
      RETURN_IF_ERROR(ReadKeyword(keyword, value, hinted));
    }
    return {};
  }

 private:
  Error Wrong(const std::string& keyword, std::string_view what) const {
    return {fmt::format("'{}' at '{}' {}.", keyword, document_.PlaceOf(schema_), what)};
  }

  Status ReadKeyword(const std::string& keyword, const Schema& value, uint32_t& hinted) {
    if (std::find(std::begin(kIgnored), std::end(kIgnored), keyword) != std::end(kIgnored) ||
        keyword.starts_with("x-")) {
      return {};
    }
    if (keyword == "type") return ReadType(value);
    if (keyword == "enum" || keyword == "const") return ReadValues(keyword, value);
    for (const auto reader : {&ShapeReader::ReadString, &ShapeReader::ReadNumber,
                              &ShapeReader::ReadArray, &ShapeReader::ReadObject}) {
      ASSIGN_OR_RETURN(const uint32_t type, (this->*reader)(keyword, value));
      hinted |= type;
      if (type != 0) return {};
    }
    if (keyword == "nullable" && value.is_boolean() && !value.get<bool>()) return {};
    return Error{fmt::format("The schema uses the keyword '{}' at '{}', which is not supported.",
                             keyword.substr(0, 100), document_.PlaceOf(schema_)),
                 ErrorKind::kUnsupported};
  }

  Status ReadType(const Schema& value) {
    uint32_t types = 0;
    const auto add = [&](const Schema& name) {
      for (const auto& [known, bits] : kTypeNames) {
        if (!name.is_string() || name.get_ref<const std::string&>() != known) continue;
        types |= bits;
        return true;
      }
      return false;
    };
    const bool known = value.is_array() ? std::all_of(value.begin(), value.end(), add) : add(value);
    if (!known) {
      return Wrong("type",
                   "must be null, boolean, integer, number, string, array, object or a list of "
                   "these");
    }
    shape_.types &= types;
    return {};
  }

  Status ReadValues(const std::string& keyword, const Schema& value) {
    std::vector<const Schema*> values;
    if (keyword == "const") {
      values.push_back(&value);
    } else {
      if (!value.is_array()) return Wrong(keyword, "must be an array");
      for (const Schema& item : value) values.push_back(&item);
    }
    if (!shape_.values) {
      shape_.values = std::move(values);
      return {};
    }
    std::erase_if(*shape_.values, [&](const Schema* one) {
      return std::none_of(values.begin(), values.end(),
                          [&](const Schema* other) { return *one == *other; });
    });
    return {};
  }

  Result<int64_t> Count(const std::string& keyword, const Schema& value) const {
    const double number = value.is_number() ? value.get<double>() : -1.0;
    if (!(number >= 0 && number < 1e9 && number == std::floor(number))) {
      return Wrong(keyword, "must be a whole number below 10^9, not negative");
    }
    return value.get<int64_t>();
  }

  Result<bool> ReadCounts(const std::string& keyword, const Schema& value, std::string_view least,
                          std::string_view most, int64_t& at_least,
                          std::optional<int64_t>& at_most) const {
    if (keyword != least && keyword != most) return false;
    ASSIGN_OR_RETURN(const int64_t count, Count(keyword, value));
    if (keyword == least) at_least = std::max(at_least, count);
    if (keyword == most) at_most = std::min(at_most.value_or(count), count);
    return true;
  }

  // These return the type that the keyword is about; 0: it is none of theirs.
  Result<uint32_t> ReadString(const std::string& keyword, const Schema& value) {
    ASSIGN_OR_RETURN(const bool is_count, ReadCounts(keyword, value, "minLength", "maxLength",
                                                     shape_.min_length, shape_.max_length));
    if (is_count) return uint32_t{kString};
    if (keyword != "pattern" && keyword != "format") return uint32_t{0};
    if (!value.is_string()) return Wrong(keyword, "must be a string");
    const auto& text = value.get_ref<const std::string&>();
    if (keyword == "pattern") {
      shape_.patterns.push_back(text);
      return uint32_t{kString};
    }
    for (const char* number : {"int32", "int64", "float", "double"}) {
      if (text == number) return uint32_t{kNumber};  // OpenAPI's; says nothing of the JSON
    }
    const auto pattern = PatternOfFormat(text);
    if (!pattern) {
      return Error{fmt::format("'format' at '{}' is '{}', which is not supported; known are {}.",
                               document_.PlaceOf(schema_), text.substr(0, 100), KnownFormats()),
                   ErrorKind::kUnsupported};
    }
    shape_.patterns.emplace_back(*pattern);
    return uint32_t{kString};
  }

  Result<uint32_t> ReadNumber(const std::string& keyword, const Schema& value) {
    const bool is_least = keyword == "minimum" || keyword == "exclusiveMinimum";
    const bool is_most = keyword == "maximum" || keyword == "exclusiveMaximum";
    if (!is_least && !is_most && keyword != "multipleOf") return uint32_t{0};
    bool excluded = keyword.starts_with("exclusive");
    if (excluded && value.is_boolean()) return uint32_t{kNumber};  // older drafts': see below
    if (!excluded) {
      const auto flag = schema_->find(is_least ? "exclusiveMinimum" : "exclusiveMaximum");
      excluded = keyword != "multipleOf" && flag != schema_->end() && *flag == true;
    }
    const auto number = value.is_number() ? Decimal::Parse(value.dump()) : std::nullopt;
    if (!number) return Wrong(keyword, "must be a number of at most 40 digits");
    NumberRange& range = shape_.number;
    if (keyword == "multipleOf") {
      if (number->negative || number->IsZero()) return Wrong(keyword, "must be above zero");
      if (range.multiple_of && range.multiple_of->Compare(*number) != 0) {
        return Wrong(keyword, "is not supported beside another one");
      }
      range.multiple_of = *number;
      return uint32_t{kNumber};
    }
    std::optional<NumberRange::Bound>& bound = is_least ? range.least : range.most;
    const int order = bound ? number->Compare(bound->value) * (is_least ? 1 : -1) : 1;
    if (order > 0) bound = {*number, excluded};
    if (order == 0) bound->excluded |= excluded;
    return uint32_t{kNumber};
  }

  Result<uint32_t> ReadArray(const std::string& keyword, const Schema& value) {
    ASSIGN_OR_RETURN(const bool is_count, ReadCounts(keyword, value, "minItems", "maxItems",
                                                     shape_.min_items, shape_.max_items));
    if (is_count) return uint32_t{kArray};
    if (keyword == "uniqueItems" && value.is_boolean() && !value.get<bool>()) {
      return uint32_t{kArray};
    }
    if (keyword == "additionalItems" && value.is_boolean() && !schema_->contains("items")) {
      return uint32_t{kArray};
    }
    if (keyword != "items" && keyword != "prefixItems") return uint32_t{0};
    if (keyword == "items" && value.is_array()) {
      return Wrong(keyword, "must be a schema: lists are 'prefixItems'");
    }
    if (keyword == "prefixItems" && !value.is_array()) {
      return Wrong(keyword, "must be an array of schemas");
    }
    return uint32_t{kArray};  // the rest: MergeItems
  }

  Result<uint32_t> ReadObject(const std::string& keyword, const Schema& value) {
    ASSIGN_OR_RETURN(const bool is_count,
                     ReadCounts(keyword, value, "minProperties", "maxProperties",
                                shape_.min_properties, shape_.max_properties));
    if (is_count) return uint32_t{kObject};
    if (keyword == "required") {
      if (!value.is_array()) return Wrong(keyword, "must be an array of strings");
      for (const Schema& name : value) {
        if (!name.is_string()) return Wrong(keyword, "must be an array of strings");
        shape_.required.push_back(name);
      }
      return uint32_t{kObject};
    }
    if (keyword == "propertyNames") {
      shape_.property_names.push_back(&value);
      return uint32_t{kObject};
    }
    if (keyword == "additionalProperties") return uint32_t{kObject};  // MergeProperties
    if (keyword != "properties" && keyword != "patternProperties") return uint32_t{0};
    if (!value.is_object()) return Wrong(keyword, "must be an object of schemas");
    return uint32_t{kObject};  // the rest likewise
  }

  SchemaShape& shape_;
  const Schema* schema_;
  const SchemaDocument& document_;
};

const Schema* Keyword(const Schema* schema, const char* keyword) {
  if (!schema->is_object()) return nullptr;
  const auto found = schema->find(keyword);
  return found == schema->end() ? nullptr : &*found;
}

bool IsFalse(const Schema& schema) { return schema.is_boolean() && !schema.get<bool>(); }

// A property's schema is what each of the schemas says of its name: under properties, else under
// additionalProperties. (patternProperties are left to the compiler, which knows the names.)
void MergeProperties(const Conjunction& schemas, SchemaShape& shape) {
  bool any_named = false, any_others = false;
  std::vector<std::string> names;
  for (const Schema* schema : schemas) {
    const Schema* properties = Keyword(schema, "properties");
    any_others |= Keyword(schema, "additionalProperties") != nullptr ||
                  Keyword(schema, "patternProperties") != nullptr;
    if (properties == nullptr) continue;
    any_named = true;
    for (const auto& [name, value] : properties->items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    Conjunction of_name;
    for (const Schema* schema : schemas) {
      const Schema* properties = Keyword(schema, "properties");
      const Schema* others = Keyword(schema, "additionalProperties");
      if (properties != nullptr && properties->contains(name)) {
        of_name.push_back(&(*properties)[name]);
      } else if (others != nullptr && Keyword(schema, "patternProperties") == nullptr) {
        of_name.push_back(others);
      }
    }
    shape.properties.emplace_back(name, std::move(of_name));
  }
  shape.allows_others = any_others || !any_named;
  for (const Schema* schema : schemas) {
    if (const Schema* others = Keyword(schema, "additionalProperties")) {
      if (IsFalse(*others)) shape.allows_others = false;
      shape.others.push_back(others);
    }
    const Schema* patterns = Keyword(schema, "patternProperties");
    if (patterns == nullptr) continue;
    for (const auto& [pattern, value] : patterns->items()) {
      shape.pattern_properties.emplace_back(pattern, Conjunction{&value});
    }
    // Without additionalProperties, others are not meant.
    if (Keyword(schema, "additionalProperties") == nullptr) shape.allows_others = false;
  }
}

// An item's schema is what each of the schemas says of its place: under prefixItems, else under
// items.
void MergeItems(const Conjunction& schemas, SchemaShape& shape) {
  const auto prefix_of = [](const Schema* schema) -> size_t {
    const Schema* prefix = Keyword(schema, "prefixItems");
    return prefix == nullptr ? 0 : prefix->size();
  };
  size_t longest = 0;
  for (const Schema* schema : schemas) longest = std::max(longest, prefix_of(schema));
  for (size_t i = 0; i < longest; ++i) {
    Conjunction of_place;
    for (const Schema* schema : schemas) {
      const Schema* items = Keyword(schema, "items");
      if (i < prefix_of(schema)) {
        of_place.push_back(&(*Keyword(schema, "prefixItems"))[i]);
      } else if (items != nullptr) {
        of_place.push_back(items);
      }
    }
    shape.prefix.push_back(std::move(of_place));
  }
  for (const Schema* schema : schemas) {
    if (const Schema* items = Keyword(schema, "items")) shape.items.push_back(items);
  }
}

}  // namespace

uint32_t TypeOf(const Schema& value) {
  switch (value.type()) {
    case Schema::value_t::null:
      return kNull;
    case Schema::value_t::boolean:
      return kBoolean;
    case Schema::value_t::string:
      return kString;
    case Schema::value_t::array:
      return kArray;
    case Schema::value_t::object:
      return kObject;
    case Schema::value_t::number_float: {
      const auto number = Decimal::Parse(value.dump());
      return number && number->fraction.empty() ? kInteger : kFraction;
    }
    default:
      return kInteger;
  }
}

Result<SchemaShape> SchemaShape::Of(const Conjunction& schemas, const SchemaDocument& document) {
  SchemaShape shape;
  for (const Schema* schema : schemas) {
    uint32_t hinted = 0;
    bool has_type = false;
    RETURN_IF_ERROR(ShapeReader(shape, schema, document).Read(hinted, has_type));
    if (hinted != 0 && !has_type) shape.types &= hinted;
  }
  MergeProperties(schemas, shape);
  MergeItems(schemas, shape);
  return shape;
}

bool SchemaShape::IsRequired(const std::string& name) const {
  return std::find(required.begin(), required.end(), name) != required.end();
}

bool SchemaShape::ConstrainsObjects() const {
  return !properties.empty() || !required.empty() || !pattern_properties.empty() ||
         !others.empty() || !property_names.empty() || min_properties > 0 || max_properties;
}

bool SchemaShape::ConstrainsArrays() const {
  return !prefix.empty() || !items.empty() || min_items > 0 || max_items;
}

}  // namespace millrace::constrained_internal
