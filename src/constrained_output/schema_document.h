// SchemaDocument: a JSON schema as parsed, its references and places.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace::constrained_internal {

using Schema = nlohmann::ordered_json;
// Schemas that must all hold, sorted and without doubles. By address: a document's parts keep
// theirs.
using Conjunction = std::vector<const Schema*>;

class SchemaDocument {
 public:
  static Result<std::unique_ptr<SchemaDocument>> Parse(std::string_view text);

  const Schema& root() const { return root_; }
  // The schemas with those that they refer to or list under allOf, which in themselves are left
  // with nothing else to say than their other keywords. Errors: references that lead nowhere, or to
  // themselves.
  Result<Conjunction> Flatten(const Conjunction& schemas);
  // A copy of `schema` without the keyword, with an address of its own: the same for the same call.
  const Schema* Without(const Schema* schema, const std::string& keyword);
  // What `from`'s $ref refers to.
  Result<const Schema*> Resolve(const Schema& reference, const Schema* from) const;
  // Where the schema stands: "#/properties/name".
  std::string PlaceOf(const Schema* schema) const;

 private:
  Status Add(const Schema* schema, std::vector<const Schema*>& open, Conjunction& found);
  void NotePlaces(const Schema* within);

  struct Place {
    const Schema* within;
    std::string name;
  };
  Schema root_;
  std::unordered_map<const Schema*, Place> places_;
  std::deque<Schema> copies_;
  std::map<std::pair<const Schema*, std::string>, const Schema*> copy_of_;
  std::map<const Schema*, const Schema*> original_of_;
};

}  // namespace millrace::constrained_internal
