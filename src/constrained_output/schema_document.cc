#include "constrained_output/schema_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "constrained_output/json_schema.h"

namespace millrace::constrained_internal {
Result<std::unique_ptr<SchemaDocument>> SchemaDocument::Parse(std::string_view text) {
  bool too_deep = false;
  const auto watch = [&](int depth, Schema::parse_event_t, Schema&) {
    too_deep |= depth > kMaxSchemaDepth;
    return !too_deep;
  };
  auto document = std::make_unique<SchemaDocument>();
  document->root_ = Schema::parse(text, watch, false);
  if (too_deep) {
    return Error{fmt::format("The schema nests deeper than {} levels.", kMaxSchemaDepth)};
  }
  if (document->root_.is_discarded()) return Error{"The schema is not valid JSON."};
  if (document->root_.is_structured()) document->NotePlaces(&document->root_);
  return document;
}

void SchemaDocument::NotePlaces(const Schema* within) {
  size_t index = 0;
  for (auto item = within->begin(); item != within->end(); ++item, ++index) {
    places_[&*item] = {within, within->is_object() ? item.key() : std::to_string(index)};
    if (item->is_structured()) NotePlaces(&*item);
  }
}

std::string SchemaDocument::PlaceOf(const Schema* schema) const {
  std::string place;
  const auto original = original_of_.find(schema);
  if (original != original_of_.end()) schema = original->second;
  for (auto at = places_.find(schema); at != places_.end(); at = places_.find(at->second.within)) {
    place = "/" + at->second.name.substr(0, 60) + place;
  }
  return "#" + place.substr(0, 300);
}

const Schema* SchemaDocument::Without(const Schema* schema, const std::string& keyword) {
  const Schema*& copy = copy_of_[{schema, keyword}];
  if (copy == nullptr) {
    copies_.push_back(*schema);
    copies_.back().erase(keyword);
    copy = &copies_.back();
    const auto original = original_of_.find(schema);
    original_of_[copy] = original == original_of_.end() ? schema : original->second;
  }
  return copy;
}

Result<const Schema*> SchemaDocument::Resolve(const Schema& reference, const Schema* from) const {
  const std::string place = PlaceOf(from);
  if (!reference.is_string()) return Error{fmt::format("'$ref' at '{}' must be a string.", place)};
  const auto& text = reference.get_ref<const std::string&>();
  const Error unresolved{
      fmt::format("'$ref' at '{}' refers to '{}', which is not a place within "
                  "the schema: only references such as '#/$defs/name' are "
                  "supported.",
                  place, text.substr(0, 100))};
  if (!text.starts_with("#")) return unresolved;
  const Schema* at = &root_;
  std::string_view rest = std::string_view(text).substr(1);
  while (!rest.empty()) {
    if (rest[0] != '/') return unresolved;
    rest.remove_prefix(1);
    std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(name.size());
    for (size_t i = 0; (i = name.find("~1", i)) != name.npos; ++i) name.replace(i, 2, "/");
    for (size_t i = 0; (i = name.find("~0", i)) != name.npos; ++i) name.replace(i, 2, "~");
    if (at->is_object() && at->contains(name)) {
      at = &(*at)[name];
    } else if (at->is_array() && !name.empty() && name.size() < 6 &&
               name.find_first_not_of("0123456789") == name.npos && std::stoul(name) < at->size()) {
      at = &(*at)[std::stoul(name)];
    } else {
      return unresolved;
    }
  }
  return at;
}

Status SchemaDocument::Add(const Schema* schema, std::vector<const Schema*>& open,
                           Conjunction& found) {
  if (std::find(open.begin(), open.end(), schema) != open.end()) {
    return Error{fmt::format("The schema at '{}' refers to itself without end.", PlaceOf(schema))};
  }
  if (std::find(found.begin(), found.end(), schema) != found.end()) return {};
  if (open.size() > 200) {
    return Error{
        fmt::format("The references at '{}' form a chain of more than 200.", PlaceOf(schema))};
  }
  found.push_back(schema);
  if (!schema->is_object()) return {};
  open.push_back(schema);
  if (const auto reference = schema->find("$ref"); reference != schema->end()) {
    ASSIGN_OR_RETURN(const Schema* target, Resolve(*reference, schema));
    RETURN_IF_ERROR(Add(target, open, found));
  }
  if (const auto all = schema->find("allOf"); all != schema->end()) {
    if (!all->is_array()) {
      return Error{fmt::format("'allOf' at '{}' must be an array.", PlaceOf(schema))};
    }
    for (const Schema& part : *all) RETURN_IF_ERROR(Add(&part, open, found));
  }
  open.pop_back();
  return {};
}

Result<Conjunction> SchemaDocument::Flatten(const Conjunction& schemas) {
  Conjunction found;
  std::vector<const Schema*> open;
  for (const Schema* schema : schemas) RETURN_IF_ERROR(Add(schema, open, found));
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace millrace::constrained_internal
