#include "constrained_output/pattern_compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "constrained_output/gbnf.h"
#include "constrained_output/json_schema.h"
#include "constrained_output/regex.h"
#include "constrained_output/repeat.h"
#include "constrained_output/schema_compiler.h"

namespace millrace {

std::string EscapedForRegex(const std::string& literal) {
  std::string escaped;
  for (const char c : literal) {
    if (std::string_view("^$\\.*+?()[]{}|/").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

TextPattern TextPattern::Without(const std::string& literal) {
  return Of(Kind::kNoMatch, EscapedForRegex(literal));
}

namespace constrained_internal {
namespace {

using Kind = TextPattern::Kind;

class PatternCompiler {
 public:
  explicit PatternCompiler(const OutputVocabulary& vocabulary) : vocabulary_(vocabulary) {}

  Result<Nfa> Compile(const TextPattern& pattern) {
    const NfaBuilder::Rule root = builder_.NewRule("answer");
    RETURN_IF_ERROR(Add(builder_.start(root), builder_.end(root), pattern));
    return builder_.Build(root);
  }

 private:
  using State = NfaBuilder::State;

  Status Add(State from, State to, const TextPattern& pattern) {
    if (!builder_.within_budget()) return {};  // Build says so
    switch (pattern.kind) {
      case Kind::kLiteral:
        builder_.Literal(from, to, pattern.text);
        return {};
      case Kind::kMarker:
        AddMarker(from, to, pattern.text);
        return {};
      case Kind::kSequence:
        return AddSequence(from, to, pattern);
      case Kind::kChoice:
        for (const TextPattern& part : pattern.parts) RETURN_IF_ERROR(Add(from, to, part));
        return {};
      case Kind::kRepeat:
        return AddRepeat(from, to, pattern);
      default:
        return AddCompiled(from, to, pattern);
    }
  }

  bool IsControl(const std::string& text) const {
    const auto& control = vocabulary_.control_tokens();
    return std::any_of(control.begin(), control.end(),
                       [&](TokenId id) { return vocabulary_.token(id).bytes == text; });
  }

  void AddMarker(State from, State to, const std::string& text) {
    IsControl(text) ? builder_.Control(from, to, text) : builder_.Literal(from, to, text);
  }

  Status AddSequence(State from, State to, const TextPattern& sequence) {
    for (const TextPattern& part : sequence.parts) {
      const State next = builder_.NewState();
      RETURN_IF_ERROR(Add(from, next, part));
      from = next;
    }
    builder_.Empty(from, to);
    return {};
  }

  Status AddRepeat(State from, State to, const TextPattern& repeat) {
    if (std::max(repeat.least, repeat.most.value_or(0)) > kMaxRepetition) {
      return Error{fmt::format("A part is repeated more than {} times.", kMaxRepetition)};
    }
    Status status;
    millrace::constrained_internal::Repeat(builder_, from, to, repeat.least, repeat.most,
                                           [&](State a, State b) {
                                             if (!status.ok()) return;
                                             status = Add(a, b, repeat.parts.at(0));
                                           });
    return status;
  }

  // Grammars, schemas and expressions become a rule each, however often they stand in the pattern.
  Status AddCompiled(State from, State to, const TextPattern& pattern) {
    auto key = std::pair(pattern.kind, pattern.text);
    for (const TextPattern& tag : pattern.parts) AddText(tag, key.second);
    const auto known = rules_.find(key);
    if (known != rules_.end()) {
      builder_.Call(from, to, known->second);
      return {};
    }
    ASSIGN_OR_RETURN(const Nfa nfa, pattern.kind == Kind::kTaggedMembers ? CompileMembers(pattern)
                                                                         : CompileLeaf(pattern));
    const NfaBuilder::Rule rule = builder_.Embed(nfa);
    rules_.emplace(key, rule);
    builder_.Call(from, to, rule);
    return {};
  }

  static void AddText(const TextPattern& pattern, std::string& text) {
    text += '\0' + pattern.text;
    for (const TextPattern& part : pattern.parts) AddText(part, text);
  }

  void AddPieces(const TextPattern& tag, std::vector<MemberTags::Piece>& pieces) const {
    for (const TextPattern& part : tag.parts) AddPieces(part, pieces);
    if (tag.text.empty()) return;
    const bool is_control = tag.kind == Kind::kMarker && IsControl(tag.text);
    pieces.push_back({tag.text, is_control});
  }

  Result<Nfa> CompileMembers(const TextPattern& pattern) const {
    MemberTags tags;
    AddPieces(pattern.parts.at(0), tags.before_key);
    AddPieces(pattern.parts.at(1), tags.before_value);
    AddPieces(pattern.parts.at(2), tags.behind_value);
    tags.end_of_text = pattern.parts.at(3).text;
    tags.types = ArgumentTypes::Of(pattern.text);
    return CompileTaggedMembers(pattern.text, tags);
  }

  static Result<Nfa> CompileLeaf(const TextPattern& pattern) {
    switch (pattern.kind) {
      case Kind::kJsonSchema:
        return CompileJsonSchema(pattern.text);
      case Kind::kGbnf:
        return CompileGbnf(pattern.text);
      case Kind::kRegex:
        return CompileRegex(pattern.text);
      default:
        break;
    }
    ASSIGN_OR_RETURN(const CharNfa found, ParseRegex(pattern.text, RegexMatch::kSearch));
    ASSIGN_OR_RETURN(const CharNfa others, Complement(found));
    NfaBuilder builder;
    const NfaBuilder::Rule root = builder.NewRule("text");
    CharNfaWriter(builder).Write(others, Spelling::kText, builder.start(root), builder.end(root));
    return builder.Build(root);
  }

  const OutputVocabulary& vocabulary_;
  NfaBuilder builder_;
  std::map<std::pair<Kind, std::string>, NfaBuilder::Rule> rules_;
};

}  // namespace

Result<Nfa> CompilePattern(const TextPattern& pattern, const OutputVocabulary& vocabulary) {
  return PatternCompiler(vocabulary).Compile(pattern);
}

}  // namespace constrained_internal
}  // namespace millrace
