// Objects: named properties in the schema's order, then others.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "constrained_output/regex.h"
#include "constrained_output/schema_compiler.h"

namespace millrace::constrained_internal {
namespace {

constexpr size_t kMostPatterns = 3;
constexpr int64_t kMostCounted = 1000;  // of minProperties and maxProperties

// All texts but the names: a trie of the names beside which everything is allowed.
CharNfa AllBut(const std::vector<std::string>& names) {
  CharNfa nfa;
  nfa.states.push_back({.edges = {}, .accepts = true});
  nfa.states.push_back({.edges = {{CharSet::All(), 1}}, .accepts = true});  // off the trie
  for (const std::string& name : names) {
    size_t at = 0;
    for (size_t i = 0; i < name.size();) {
      const auto lead = static_cast<uint8_t>(name[i]);
      const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      uint32_t character = length == 1 ? lead : lead & (0xFFu >> (length + 1));
      for (size_t k = 1; k < length && i + k < name.size(); ++k) {
        character = character << 6 | (static_cast<uint8_t>(name[i + k]) & 0x3Fu);
      }
      i += length;
      const auto known =
          std::find_if(nfa.states[at].edges.begin(), nfa.states[at].edges.end(),
                       [&](const CharNfa::Edge& edge) { return edge.set.Contains(character); });
      if (known != nfa.states[at].edges.end()) {
        at = At(known->target);
        continue;
      }
      nfa.states[at].edges.push_back(
          {CharSet(character, character), static_cast<int32_t>(nfa.states.size())});
      at = nfa.states.size();
      nfa.states.push_back({.edges = {}, .accepts = true});
    }
    nfa.states[at].accepts = false;
  }
  for (size_t i = 0; i < nfa.states.size(); ++i) {
    if (i == 1) continue;
    CharSet on_trie;
    for (const CharNfa::Edge& edge : nfa.states[i].edges) on_trie.Add(edge.set);
    nfa.states[i].edges.push_back({on_trie.Inverted(), 1});
  }
  return nfa;
}

}  // namespace

Result<std::vector<SchemaCompiler::Member>> SchemaCompiler::NamedMembers(
    const SchemaShape& shape, const std::vector<CharNfa>& patterns, const CharNfa* allowed,
    Form form) {
  std::vector<Member> named;
  const auto add = [&](const std::string& name, Conjunction schemas, bool required) -> Status {
    for (size_t i = 0; i < patterns.size(); ++i) {
      if (!Matches(patterns[i], name)) continue;
      const Conjunction& more = shape.pattern_properties[i].second;
      schemas.insert(schemas.end(), more.begin(), more.end());
    }
    static const Schema kNothing = false;
    if (allowed != nullptr && !Matches(*allowed, name)) schemas = {&kNothing};
    const bool is_text = form == Form::kMembers && tags_->types.IsText(name);
    ASSIGN_OR_RETURN(const Rule value, RuleOf(schemas, is_text ? Form::kText : Form::kJson));
    named.push_back({.name = name, .keys = {}, .value = value, .required = required});
    return {};
  };
  for (const auto& [name, schemas] : shape.properties) {
    RETURN_IF_ERROR(add(name, schemas, shape.IsRequired(name)));
  }
  for (const std::string& name : shape.required) {
    if (std::any_of(named.begin(), named.end(),
                    [&](const Member& member) { return member.name == name; })) {
      continue;
    }
    // Required, but not among the properties: what the others must be.
    RETURN_IF_ERROR(add(name, shape.others, true));
  }
  return named;
}

// Keys are told apart by which of the patterns they match.
Result<std::vector<SchemaCompiler::Member>> SchemaCompiler::OtherMembers(
    const SchemaShape& shape, const std::vector<CharNfa>& patterns, const CharNfa* allowed) {
  std::vector<Member> others;
  std::vector<std::string> names = shape.required;
  for (const auto& [name, schemas] : shape.properties) names.push_back(name);
  for (uint32_t set = 0; set < 1u << patterns.size(); ++set) {
    if (set == 0 && !shape.allows_others) continue;
    CharNfa keys = AllBut(names);
    if (allowed != nullptr) {
      ASSIGN_OR_RETURN(keys, Intersect(keys, *allowed));
    }
    Conjunction schemas = set == 0 ? shape.others : Conjunction();
    for (size_t i = 0; i < patterns.size(); ++i) {
      const bool matches = (set >> i & 1) != 0;
      if (matches) {
        const Conjunction& more = shape.pattern_properties[i].second;
        schemas.insert(schemas.end(), more.begin(), more.end());
        ASSIGN_OR_RETURN(keys, Intersect(keys, patterns[i]));
      } else {
        ASSIGN_OR_RETURN(const CharNfa rest, Complement(patterns[i]));
        ASSIGN_OR_RETURN(keys, Intersect(keys, rest));
      }
    }
    ASSIGN_OR_RETURN(const Rule value, RuleOf(schemas));
    others.push_back({.name = {}, .keys = std::move(keys), .value = value, .required = false});
  }
  return others;
}

void SchemaCompiler::WriteMember(State from, State to, const Member& member, Form form) {
  const auto tag = [&](State before, State behind, const std::vector<MemberTags::Piece>& pieces) {
    for (const MemberTags::Piece& piece : pieces) {
      const State next = builder_.NewState();
      piece.is_control ? builder_.Control(before, next, piece.text)
                       : builder_.Literal(before, next, piece.text);
      before = next;
    }
    builder_.Empty(before, behind);
  };
  const State named = builder_.NewState(), value = builder_.NewState();
  if (form == Form::kMembers) {
    const State key = builder_.NewState(), end = builder_.NewState();
    tag(from, key, tags_->before_key);
    member.name ? builder_.Literal(key, named, *member.name)
                : chars_.Write(member.keys, Spelling::kText, key, named);
    tag(named, value, tags_->before_value);
    builder_.Call(value, end, member.value);
    return tag(end, to, tags_->behind_value);
  }
  if (member.name) {
    WriteValue(from, named, Schema(*member.name));
  } else {
    const State open = builder_.NewState(), close = builder_.NewState();
    builder_.Literal(from, open, "\"");
    chars_.Write(member.keys, Spelling::kJsonString, open, close);
    builder_.Literal(close, named, "\"");
  }
  Separator(named, value, ":");
  builder_.Call(value, to, member.value);
}

// A place is how many of the named members were passed, how many members were written (up to what
// the bounds ask for), and whether that is any, so that a comma is due.
void SchemaCompiler::WriteMembers(State open, State close, const std::vector<Member>& named,
                                  const std::vector<Member>& others, const SchemaShape& shape,
                                  Form form) {
  const int64_t counted = shape.max_properties.value_or(std::max<int64_t>(shape.min_properties, 1));
  std::map<std::pair<size_t, int64_t>, State> places;
  const auto place = [&](size_t passed, int64_t count) {
    State& state = places.emplace(std::pair(passed, std::min(count, counted)), -1).first->second;
    if (state < 0) state = builder_.NewState();
    return state;
  };
  // What differs only in whether a comma came first is written once.
  std::map<std::pair<size_t, State>, State> written;
  const auto write = [&](State key, size_t number, const Member& member, State behind) {
    State& state = written.emplace(std::pair(number, behind), -1).first->second;
    if (state < 0) {
      state = builder_.NewState();
      WriteMember(state, behind, member, form);
    }
    builder_.Empty(key, state);
  };
  const auto is_full = [&](int64_t count) {
    return shape.max_properties && count >= *shape.max_properties;
  };
  const Rule comma = builder_.NewRule("comma");
  Separator(builder_.start(comma), builder_.end(comma), ",");
  builder_.Empty(open, place(0, 0));
  for (size_t passed = 0; passed <= named.size(); ++passed) {
    for (int64_t count = 0; count <= counted && builder_.within_budget(); ++count) {
      const State at = place(passed, count);
      State key = at;
      if (count > 0 && form == Form::kJson) {
        key = builder_.NewState();
        builder_.Call(at, key, comma);
      }
      if (passed < named.size()) {
        if (!is_full(count)) write(key, passed, named[passed], place(passed + 1, count + 1));
        if (!named[passed].required) builder_.Empty(at, place(passed + 1, count));
        continue;
      }
      // Keys of the others may come twice, so only the first is sure to count.
      const int64_t sure = std::max<int64_t>(count, 1);
      const int64_t next = shape.max_properties ? count + 1 : sure;
      for (size_t i = 0; i < others.size() && !is_full(count); ++i) {
        write(key, passed + i, others[i], place(passed, next));
      }
      if (count < shape.min_properties) continue;
      const bool is_bare = count == 0 || form == Form::kMembers;
      is_bare ? builder_.Empty(at, close) : Space(at, close);
    }
  }
}

Status SchemaCompiler::WriteObject(State from, State to, const SchemaShape& shape,
                                   const Conjunction& flat, Form form) {
  if (std::max(shape.min_properties, shape.max_properties.value_or(0)) > kMostCounted) {
    return Wrong(flat, fmt::format("has a 'minProperties' or 'maxProperties' above {}, which is "
                                   "not supported",
                                   kMostCounted));
  }
  if (shape.pattern_properties.size() > kMostPatterns) {
    return Wrong(flat, fmt::format("has more than {} 'patternProperties', which is not supported",
                                   kMostPatterns));
  }
  std::vector<CharNfa> patterns;
  for (const auto& [pattern, schemas] : shape.pattern_properties) {
    auto keys = ParseRegex(pattern, RegexMatch::kSearch);
    if (!keys.ok()) return Wrong(flat, "has under 'patternProperties': " + keys.error().message);
    patterns.push_back(std::move(*keys));
  }
  std::optional<CharNfa> allowed;
  if (!shape.property_names.empty()) {
    ASSIGN_OR_RETURN(const Conjunction of_names, document_.Flatten(shape.property_names));
    ASSIGN_OR_RETURN(const SchemaShape names, SchemaShape::Of(of_names, document_));
    if (names.values) return Wrong(flat, "has an 'enum' under 'propertyNames': use 'properties'");
    ASSIGN_OR_RETURN(allowed, CharsOf(names, of_names));
  }
  std::optional<CharNfa> spelled;  // keys that can stand between tags
  if (form == Form::kMembers) {
    ASSIGN_OR_RETURN(spelled, ParseRegex(R"([^<>\s]([^<>\r\n]*[^<>\s])?)", RegexMatch::kWhole));
    for (const auto& [name, schemas] : shape.properties) {
      if (Matches(*spelled, name)) continue;
      return Wrong(flat, fmt::format("has a property '{}', whose name cannot be written in this "
                                     "model's tool calls",
                                     name.substr(0, 60)));
    }
    if (allowed) {
      ASSIGN_OR_RETURN(spelled, Intersect(*allowed, *spelled));
    }
    allowed = std::move(spelled);
  }
  const CharNfa* limit = allowed ? &*allowed : nullptr;
  ASSIGN_OR_RETURN(const std::vector<Member> named, NamedMembers(shape, patterns, limit, form));
  ASSIGN_OR_RETURN(const std::vector<Member> others, OtherMembers(shape, patterns, limit));
  if (shape.min_properties > std::max<int64_t>(1, static_cast<int64_t>(named.size())) &&
      !others.empty()) {
    return Wrong(flat,
                 "has a 'minProperties' that only properties without a name of their own "
                 "could reach, which is not supported");
  }
  if (form == Form::kMembers) {
    const State end = builder_.NewState();
    WriteMembers(from, end, named, others, shape, form);
    builder_.Empty(end, to);
    return {};
  }
  const State open = builder_.NewState(), first = builder_.NewState(), close = builder_.NewState();
  builder_.Literal(from, open, "{");
  Space(open, first);
  WriteMembers(first, close, named, others, shape, form);
  builder_.Literal(close, to, "}");
  return {};
}

}  // namespace millrace::constrained_internal
