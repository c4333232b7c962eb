#include "constrained_output/json_schema.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "constrained_output/regex.h"
#include "constrained_output/repeat.h"
#include "constrained_output/schema_compiler.h"
#include "constrained_output/text_pattern.h"

namespace millrace::constrained_internal {

SchemaCompiler::SchemaCompiler(SchemaDocument& document, const MemberTags* tags)
    : document_(document), tags_(tags), chars_(builder_) {
  space_ = builder_.NewRule("space");
  const State from = builder_.start(space_), to = builder_.end(space_);
  builder_.Empty(from, to);
  builder_.Symbols(from, to, ' ', ' ');
  const State line = builder_.NewState(), indent = builder_.NewState();
  builder_.Symbols(from, line, '\n', '\n');
  builder_.Symbols(line, indent, '\n', '\n');
  builder_.Empty(line, indent);
  Repeat(builder_, indent, to, 0, 20, [&](State a, State b) {
    builder_.Symbols(a, b, ' ', ' ');
    builder_.Symbols(a, b, '\t', '\t');
  });
  for (const bool integer : {false, true}) {
    Rule& rule = integer ? integer_ : number_;
    rule = builder_.NewRule("number");
    const NumberRange any{.integer = integer, .least = {}, .most = {}, .multiple_of = {}};
    CHECK(WriteNumber(builder_, builder_.start(rule), builder_.end(rule), any).ok());
  }
  text_ = builder_.NewRule("string");
  const State open = builder_.NewState(), close = builder_.NewState();
  builder_.Literal(builder_.start(text_), open, "\"");
  chars_.Write(CharNfa::AnyText(), Spelling::kAnyJsonString, open, close);
  builder_.Literal(close, builder_.end(text_), "\"");
}

Error SchemaCompiler::Wrong(const Conjunction& flat, std::string_view what) const {
  const std::string place = flat.empty() ? "#" : document_.PlaceOf(flat[0]);
  return {fmt::format("The schema at '{}' {}.", place, what), ErrorKind::kUnsupported};
}

void SchemaCompiler::Separator(State from, State to, std::string_view text) {
  const State before = builder_.NewState(), behind = builder_.NewState();
  Space(from, before);
  builder_.Literal(before, behind, text);
  Space(behind, to);
}

Result<SchemaCompiler::Rule> SchemaCompiler::RuleOf(const Conjunction& schemas, Form form) {
  ASSIGN_OR_RETURN(Conjunction flat, document_.Flatten(schemas));
  const auto known = rules_.find({form, flat});
  if (known != rules_.end()) return known->second;
  if (rules_.size() >= kMaxSchemaRules || !builder_.within_budget()) {
    return Error{fmt::format("The schema is too large: its parts combine to more than {} schemas.",
                             kMaxSchemaRules),
                 ErrorKind::kUnsupported};
  }
  const Rule rule = builder_.NewRule(flat.empty() ? "#" : document_.PlaceOf(flat[0]));
  rules_.emplace(std::pair(form, flat), rule);
  waiting_.push_back({rule, std::move(flat), form});
  return rule;
}

Result<Nfa> SchemaCompiler::Compile() {
  const Form form = tags_ == nullptr ? Form::kJson : Form::kMembers;
  ASSIGN_OR_RETURN(const Rule root, RuleOf({&document_.root()}, form));
  while (!waiting_.empty()) {
    const Waiting next = std::move(waiting_.back());
    waiting_.pop_back();
    RETURN_IF_ERROR(WriteRule(next.rule, next.flat, next.form));
  }
  return builder_.Build(root);
}

Status SchemaCompiler::WriteRule(Rule rule, const Conjunction& flat, Form form) {
  for (const Schema* schema : flat) {
    if (!schema->is_object()) continue;
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema->contains(keyword)) return WriteAlternatives(rule, flat, schema, keyword, form);
    }
  }
  ASSIGN_OR_RETURN(const SchemaShape shape, SchemaShape::Of(flat, document_));
  const State from = builder_.start(rule), to = builder_.end(rule);
  if (form == Form::kText) return WriteText(from, to, shape, flat);
  if (form == Form::kJson) return WriteShape(from, to, shape, flat);
  if (shape.values) return Wrong(flat, "has an 'enum' or 'const' of arguments: use 'properties'");
  if ((shape.types & kObject) == 0) return Wrong(flat, "must be of type 'object'");
  return WriteObject(from, to, shape, flat, form);
}

// One rule per alternative, each together with all the rest.
Status SchemaCompiler::WriteAlternatives(Rule rule, const Conjunction& flat, const Schema* with,
                                         const std::string& keyword, Form form) {
  const Schema& alternatives = (*with)[keyword];
  if (!alternatives.is_array() || alternatives.empty()) {
    return Wrong({with}, fmt::format("must have an array of schemas under '{}'", keyword));
  }
  if (keyword == "oneOf") {
    for (size_t i = 0; i < alternatives.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        ASSIGN_OR_RETURN(const bool apart, Exclude(&alternatives[j], &alternatives[i], 0));
        if (apart) continue;
        return Wrong({with}, fmt::format("has alternatives {} and {} under 'oneOf' that one value "
                                         "could match both: use 'anyOf', or give them a required "
                                         "property with different 'const' values",
                                         j, i));
      }
    }
  }
  Conjunction rest = flat;
  std::replace(rest.begin(), rest.end(), with, document_.Without(with, keyword));
  for (const Schema& alternative : alternatives) {
    Conjunction both = rest;
    both.push_back(&alternative);
    // References were followed already: without them, the parts do not come back whole.
    for (const Schema*& schema : both) {
      if (schema == &alternative || !schema->is_object()) continue;
      for (const char* followed : {"$ref", "allOf"}) {
        if (schema->contains(followed)) schema = document_.Without(schema, followed);
      }
    }
    ASSIGN_OR_RETURN(const Rule one, RuleOf(both, form));
    builder_.Call(builder_.start(rule), builder_.end(rule), one);
  }
  return {};
}

Status SchemaCompiler::WriteShape(State from, State to, const SchemaShape& shape,
                                  const Conjunction& flat) {
  if (shape.values) return WriteValues(from, to, shape, flat);
  if ((shape.types & kNull) != 0) builder_.Literal(from, to, "null");
  if ((shape.types & kBoolean) != 0) {
    builder_.Literal(from, to, "true");
    builder_.Literal(from, to, "false");
  }
  if ((shape.types & kNumber) != 0) {
    NumberRange range = shape.number;
    range.integer = (shape.types & kFraction) == 0;
    if (range.least || range.most || range.multiple_of) {
      RETURN_IF_ERROR(WriteNumber(builder_, from, to, range));
    } else {
      builder_.Call(from, to, range.integer ? integer_ : number_);
    }
  }
  if ((shape.types & kString) != 0) RETURN_IF_ERROR(WriteString(from, to, shape, flat));
  if ((shape.types & kArray) != 0) RETURN_IF_ERROR(WriteArray(from, to, shape, flat));
  if ((shape.types & kObject) != 0) {
    RETURN_IF_ERROR(WriteObject(from, to, shape, flat, Form::kJson));
  }
  return {};
}

Status SchemaCompiler::WriteValues(State from, State to, const SchemaShape& shape,
                                   const Conjunction& flat) {
  for (const Schema* value : *shape.values) {
    ASSIGN_OR_RETURN(const bool allowed, Allows(shape, *value, flat));
    if (allowed) WriteValue(from, to, *value);
  }
  return {};
}

// Whether the shape's other keywords allow a value of its enum.
Result<bool> SchemaCompiler::Allows(const SchemaShape& shape, const Schema& value,
                                    const Conjunction& flat) const {
  const uint32_t type = TypeOf(value);
  if ((shape.types & type) == 0) return false;
  if ((type == kObject && shape.ConstrainsObjects()) ||
      (type == kArray && shape.ConstrainsArrays())) {
    return Wrong(flat,
                 "has an array or object under 'enum' or 'const' beside keywords about its "
                 "parts, which is not supported");
  }
  if ((type & kNumber) != 0) {
    const auto number = Decimal::Parse(value.dump());
    return number && Contains(shape.number, *number);
  }
  if (type != kString) return true;
  ASSIGN_OR_RETURN(const CharNfa chars, CharsOf(shape, flat));
  return Matches(chars, value.get_ref<const std::string&>());
}

void SchemaCompiler::WriteValue(State from, State to, const Schema& value) {
  if (!value.is_structured() || value.empty()) {
    return builder_.Literal(from, to, value.dump(-1, ' ', false, Schema::error_handler_t::replace));
  }
  const bool is_array = value.is_array();
  State at = builder_.NewState();
  const State open = builder_.NewState();
  builder_.Literal(from, open, is_array ? "[" : "{");
  Space(open, at);
  bool first = true;
  for (const auto& [name, item] : value.items()) {
    if (!std::exchange(first, false)) {
      const State next = builder_.NewState();
      Separator(at, next, ",");
      at = next;
    }
    if (!is_array) {
      const State named = builder_.NewState(), next = builder_.NewState();
      WriteValue(at, named, Schema(name));
      Separator(named, next, ":");
      at = next;
    }
    const State next = builder_.NewState();
    WriteValue(at, next, item);
    at = next;
  }
  const State close = builder_.NewState();
  Space(at, close);
  builder_.Literal(close, to, is_array ? "]" : "}");
}

// The characters of the strings that are allowed.
Result<CharNfa> SchemaCompiler::CharsOf(const SchemaShape& shape, const Conjunction& flat) const {
  constexpr auto kLongest = static_cast<int64_t>(CharNfa::kMaxStates) - 2;
  if (std::max(shape.min_length, shape.max_length.value_or(0)) > kLongest) {
    return Wrong(flat, fmt::format("has a 'minLength' or 'maxLength' above {}, which is not "
                                   "supported",
                                   kLongest));
  }
  CharNfa chars = CharNfa::AnyText();
  for (const std::string& pattern : shape.patterns) {
    auto one = ParseRegex(pattern, RegexMatch::kSearch);
    if (!one.ok()) {
      return Error{
          fmt::format("'pattern' at '{}': {}", document_.PlaceOf(flat[0]), one.error().message),
          one.error().kind};
    }
    ASSIGN_OR_RETURN(chars, Intersect(chars, *one));
  }
  if (shape.min_length > 0 || shape.max_length) {
    ASSIGN_OR_RETURN(chars, Intersect(chars, CharNfa::Length(shape.min_length, shape.max_length)));
  }
  return chars;
}

Status SchemaCompiler::WriteString(State from, State to, const SchemaShape& shape,
                                   const Conjunction& flat) {
  if (shape.patterns.empty() && shape.min_length == 0 && !shape.max_length) {
    builder_.Call(from, to, text_);
    return {};
  }
  ASSIGN_OR_RETURN(const CharNfa chars, CharsOf(shape, flat));
  const State open = builder_.NewState(), close = builder_.NewState();
  builder_.Literal(from, open, "\"");
  chars_.Write(chars, shape.patterns.empty() ? Spelling::kAnyJsonString : Spelling::kJsonString,
               open, close);
  builder_.Literal(close, to, "\"");
  return {};
}

// A string as it is, up to the tag that ends it.
Status SchemaCompiler::WriteText(State from, State to, const SchemaShape& shape,
                                 const Conjunction& flat) {
  ASSIGN_OR_RETURN(const CharNfa end,
                   ParseRegex(EscapedForRegex(tags_->end_of_text), RegexMatch::kSearch));
  if (shape.values) {
    for (const Schema* value : *shape.values) {
      ASSIGN_OR_RETURN(const bool allowed, Allows(shape, *value, flat));
      if (!allowed || !value->is_string()) continue;
      const auto& text = value->get_ref<const std::string&>();
      if (!Matches(end, text)) builder_.Literal(from, to, text);
    }
    return {};
  }
  if ((shape.types & kString) == 0) return {};
  ASSIGN_OR_RETURN(CharNfa chars, CharsOf(shape, flat));
  ASSIGN_OR_RETURN(const CharNfa endless, Complement(end));
  ASSIGN_OR_RETURN(chars, Intersect(chars, endless));
  chars_.Write(chars, Spelling::kText, from, to);
  return {};
}

Status SchemaCompiler::WriteArray(State from, State to, const SchemaShape& shape,
                                  const Conjunction& flat) {
  ASSIGN_OR_RETURN(const Rule item, RuleOf(shape.items));
  std::vector<Rule> prefix;
  for (const Conjunction& schemas : shape.prefix) {
    ASSIGN_OR_RETURN(const Rule rule, RuleOf(schemas));
    prefix.push_back(rule);
  }
  const auto places = static_cast<int64_t>(prefix.size());
  const int64_t last = std::max(shape.min_items, shape.max_items.value_or(places));
  if (last > kMaxRepetition) {
    return Wrong(flat, fmt::format("has a 'minItems' or 'maxItems' above {}, which is not "
                                   "supported",
                                   kMaxRepetition));
  }
  const State open = builder_.NewState(), first = builder_.NewState(), close = builder_.NewState();
  builder_.Literal(from, open, "[");
  Space(open, first);
  builder_.Literal(close, to, "]");
  const Rule comma = builder_.NewRule("comma");
  Separator(builder_.start(comma), builder_.end(comma), ",");
  State at = first;  // before item i, or before its comma
  for (int64_t i = 0; i <= last && builder_.within_budget(); ++i) {
    if (i >= shape.min_items) (i == 0) ? builder_.Empty(at, close) : Space(at, close);
    if (shape.max_items && i >= *shape.max_items) break;
    if (i == last && shape.max_items) break;
    State before = at;
    if (i > 0) {
      before = builder_.NewState();
      builder_.Call(at, before, comma);
    }
    if (i == last) {  // any number from here
      const State behind = builder_.NewState();
      builder_.Call(before, behind, item);
      const State again = builder_.NewState();
      builder_.Call(behind, again, comma);
      builder_.Call(again, behind, item);
      Space(behind, close);
      break;
    }
    const State behind = builder_.NewState();
    builder_.Call(before, behind, i < places ? prefix[static_cast<size_t>(i)] : item);
    at = behind;
  }
  return {};
}

Result<Nfa> CompileJsonSchema(std::string_view schema) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SchemaDocument> document, SchemaDocument::Parse(schema));
  return SchemaCompiler(*document).Compile();
}

Result<Nfa> CompileTaggedMembers(std::string_view schema, const MemberTags& tags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SchemaDocument> document, SchemaDocument::Parse(schema));
  return SchemaCompiler(*document, &tags).Compile();
}

}  // namespace millrace::constrained_internal
