// SchemaCompiler: SchemaShapes -> rules of an Nfa. Internal to CompileJsonSchema.
//
// Invariant: each conjunction of schemas, once flattened, has one rule, so that recursive schemas
// end; rules wait in a list until they are written, so that no call nests with the schema.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "constrained_output/char_nfa.h"
#include "constrained_output/schema_document.h"
#include "constrained_output/schema_shape.h"

namespace millrace::constrained_internal {

class SchemaCompiler {
 public:
  explicit SchemaCompiler(SchemaDocument& document);
  Result<Nfa> Compile();

 private:
  using State = NfaBuilder::State;
  using Rule = NfaBuilder::Rule;

  Result<Rule> RuleOf(const Conjunction& schemas);
  Status WriteRule(Rule rule, const Conjunction& flat);
  Status WriteAlternatives(Rule rule, const Conjunction& flat, const Schema* with,
                           const std::string& keyword);
  Status WriteShape(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  Status WriteValues(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  void WriteValue(State from, State to, const Schema& value);
  Result<bool> Allows(const SchemaShape& shape, const Schema& value, const Conjunction& flat) const;
  Status WriteString(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  Result<CharNfa> CharsOf(const SchemaShape& shape, const Conjunction& flat) const;
  Status WriteArray(State from, State to, const SchemaShape& shape, const Conjunction& flat);

  // schema_objects.cc
  // Keys that are written alike: by a text, or by a language.
  struct Member {
    std::optional<std::string> name;
    CharNfa keys;
    Rule value = 0;
    bool required = false;
  };
  Status WriteObject(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  Result<std::vector<Member>> NamedMembers(const SchemaShape& shape,
                                           const std::vector<CharNfa>& patterns,
                                           const CharNfa* allowed);
  Result<std::vector<Member>> OtherMembers(const SchemaShape& shape,
                                           const std::vector<CharNfa>& patterns,
                                           const CharNfa* allowed);
  void WriteMember(State from, State to, const Member& member);
  void WriteMembers(State open, State close, const std::vector<Member>& named,
                    const std::vector<Member>& others, const SchemaShape& shape);

  // schema_exclusion.cc: whether no value is allowed by both.
  Result<bool> Exclude(const Schema* a, const Schema* b, int depth);

  void Space(State from, State to) { builder_.Call(from, to, space_); }
  void Separator(State from, State to, std::string_view text);
  Error Wrong(const Conjunction& flat, std::string_view what) const;

  SchemaDocument& document_;
  NfaBuilder builder_;
  CharNfaWriter chars_;
  Rule space_ = 0, text_ = 0, number_ = 0, integer_ = 0;
  std::map<Conjunction, Rule> rules_;
  std::vector<std::pair<Rule, Conjunction>> waiting_;
};

}  // namespace millrace::constrained_internal
