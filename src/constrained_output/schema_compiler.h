// SchemaCompiler: SchemaShapes -> rules of an Nfa. Internal to CompileJsonSchema.
//
// Invariant: each conjunction of schemas, once flattened, has one rule, so that recursive schemas
// end; rules wait in a list until they are written, so that no call nests with the schema. (One
// for each Form in which they are needed.)
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "constrained_output/argument_types.h"
#include "constrained_output/char_nfa.h"
#include "constrained_output/schema_document.h"
#include "constrained_output/schema_shape.h"

namespace millrace::constrained_internal {

// How members are written that are no JSON: before_key, the key, before_value, the value,
// behind_value.
struct MemberTags {
  struct Piece {
    std::string text;
    bool is_control = false;  // a control token's
  };
  std::vector<Piece> before_key, before_value, behind_value;
  std::string end_of_text;  // does not stand in a string
  ArgumentTypes types;
};

class SchemaCompiler {
 public:
  explicit SchemaCompiler(SchemaDocument& document, const MemberTags* tags = nullptr);
  Result<Nfa> Compile();  // JSON; with tags, the members of an object

 private:
  using State = NfaBuilder::State;
  using Rule = NfaBuilder::Rule;
  enum class Form {
    kJson,
    kText,     // the characters of a string
    kMembers,  // of an object, between tags
  };

  Result<Rule> RuleOf(const Conjunction& schemas, Form form = Form::kJson);
  Status WriteRule(Rule rule, const Conjunction& flat, Form form);
  Status WriteAlternatives(Rule rule, const Conjunction& flat, const Schema* with,
                           const std::string& keyword, Form form);
  Status WriteShape(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  Status WriteValues(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  void WriteValue(State from, State to, const Schema& value);
  Result<bool> Allows(const SchemaShape& shape, const Schema& value, const Conjunction& flat) const;
  Status WriteString(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  Result<CharNfa> CharsOf(const SchemaShape& shape, const Conjunction& flat) const;
  Status WriteText(State from, State to, const SchemaShape& shape, const Conjunction& flat);
  Status WriteArray(State from, State to, const SchemaShape& shape, const Conjunction& flat);

  // schema_objects.cc
  // Keys that are written alike: by a text, or by a language.
  struct Member {
    std::optional<std::string> name;
    CharNfa keys;
    Rule value = 0;
    bool required = false;
  };
  Status WriteObject(State from, State to, const SchemaShape& shape, const Conjunction& flat,
                     Form form);
  Result<std::vector<Member>> NamedMembers(const SchemaShape& shape,
                                           const std::vector<CharNfa>& patterns,
                                           const CharNfa* allowed, Form form);
  Result<std::vector<Member>> OtherMembers(const SchemaShape& shape,
                                           const std::vector<CharNfa>& patterns,
                                           const CharNfa* allowed);
  void WriteMember(State from, State to, const Member& member, Form form);
  void WriteMembers(State open, State close, const std::vector<Member>& named,
                    const std::vector<Member>& others, const SchemaShape& shape, Form form);

  // schema_exclusion.cc: whether no value is allowed by both.
  Result<bool> Exclude(const Schema* a, const Schema* b, int depth);

  void Space(State from, State to) { builder_.Call(from, to, space_); }
  void Separator(State from, State to, std::string_view text);
  Error Wrong(const Conjunction& flat, std::string_view what) const;

  SchemaDocument& document_;
  const MemberTags* const tags_;
  NfaBuilder builder_;
  CharNfaWriter chars_;
  Rule space_ = 0, text_ = 0, number_ = 0, integer_ = 0;
  std::map<std::pair<Form, Conjunction>, Rule> rules_;
  struct Waiting {
    Rule rule;
    Conjunction flat;
    Form form;
  };
  std::vector<Waiting> waiting_;
};

}  // namespace millrace::constrained_internal
