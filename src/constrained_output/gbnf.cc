#include "constrained_output/gbnf.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "constrained_output/char_nfa.h"
#include "constrained_output/expression.h"
#include "constrained_output/repeat.h"
#include "constrained_output/text_reader.h"

namespace millrace::constrained_internal {
namespace {

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

struct GbnfRule {
  std::string name;
  bool defined = false;
  size_t used_at = 0;  // where it was named first
  Expression body;
};

class GbnfParser {
 public:
  explicit GbnfParser(std::string_view text) : text_(text), reader_(text) {}

  Result<std::vector<GbnfRule>> Parse() {
    SkipSpace(true);
    while (ok() && !reader_.AtEnd()) Rule();
    for (const GbnfRule& rule : rules_) {
      if (!ok() || rule.defined) continue;
      problem_ = fmt::format("The grammar uses the rule '{}' in line {}, but does not define it.",
                             rule.name.substr(0, 100), LineOf(rule.used_at));
    }
    if (ok() && !numbers_.contains("root")) problem_ = "The grammar has no rule 'root'.";
    if (!ok()) return Error{*problem_};
    return std::move(rules_);
  }
  int32_t root() const { return numbers_.at("root"); }

 private:
  bool ok() const { return !problem_.has_value(); }
  size_t LineOf(size_t position) const {
    const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(position, text_.size()));
    return 1 + static_cast<size_t>(std::count(text_.begin(), end, '\n'));
  }
  void Fail(std::string_view what) {
    if (ok()) problem_ = fmt::format("The grammar {} (line {}).", what, LineOf(reader_.position()));
  }

  void SkipSpace(bool over_lines) {
    while (!reader_.AtEnd()) {
      const char c = reader_.Peek();
      if (c == '#') {
        while (!reader_.AtEnd() && reader_.Peek() != '\n') reader_.Take();
      } else if (c == ' ' || c == '\t' || (over_lines && (c == '\n' || c == '\r'))) {
        reader_.Take();
      } else {
        return;
      }
    }
  }

  std::string Name() {
    std::string name;
    while (!reader_.AtEnd() && IsNameChar(reader_.Peek())) name += reader_.Take();
    if (name.empty()) Fail("lacks a rule's name where one is needed");
    return name;
  }

  int32_t NumberOf(const std::string& name) {
    const auto [at, is_new] = numbers_.emplace(name, static_cast<int32_t>(rules_.size()));
    if (is_new) {
      rules_.push_back({.name = name, .used_at = reader_.position(), .body = {}});
    }
    return at->second;
  }

  void Rule() {
    const std::string name = Name();
    SkipSpace(false);
    if (ok() && !reader_.Skip("::=")) Fail(fmt::format("lacks '::=' behind '{}'", name));
    if (!ok()) return;
    SkipSpace(true);
    const auto number = static_cast<size_t>(NumberOf(name));
    if (rules_[number].defined) return Fail(fmt::format("defines the rule '{}' twice", name));
    rules_[number].defined = true;
    Expression body = Alternatives(0);
    if (ok() && !reader_.AtEnd() && reader_.Peek() != '\n' && reader_.Peek() != '\r') {
      return Fail(
          fmt::format("has '{}' where no part of a rule begins", Printable(reader_.Peek())));
    }
    rules_[number].body = std::move(body);
    SkipSpace(true);
  }

  Expression Alternatives(int depth) {
    if (depth > kMaxGbnfNesting) {
      Fail(fmt::format("nests deeper than {} groups", kMaxGbnfNesting));
      return {};
    }
    std::vector<Expression> alternatives;
    alternatives.push_back(Sequence(depth));
    while (ok() && reader_.Skip('|')) {
      SkipSpace(true);
      alternatives.push_back(Sequence(depth));
    }
    return Expression::Of(Expression::Kind::kAlternatives, std::move(alternatives));
  }

  Expression Sequence(int depth) {
    std::vector<Expression> parts;
    bool may_repeat = false;
    while (ok() && !reader_.AtEnd()) {
      const char c = reader_.Peek();
      if (c == '|' || c == ')' || c == '\n' || c == '\r') break;
      if (c == '*' || c == '+' || c == '?' || c == '{') {
        if (!may_repeat) {
          Fail(fmt::format("has a '{}' with nothing to repeat, or behind a repetition: use a group",
                           c));
          break;
        }
        parts.back() = Quantified(std::move(parts.back()));
        may_repeat = false;
      } else {
        parts.push_back(Atom(depth));
        may_repeat = true;
      }
      SkipSpace(depth > 0);
    }
    return Expression::Of(Expression::Kind::kSequence, std::move(parts));
  }

  Expression Atom(int depth) {
    if (reader_.Skip('"')) return Literal();
    if (reader_.Skip('[')) return Expression::Chars(Class());
    if (reader_.Skip('.')) return Expression::Chars(CharSet::All());
    if (reader_.Skip('(')) {
      SkipSpace(true);
      Expression inner = Alternatives(depth + 1);
      if (ok() && !reader_.Skip(')')) Fail("has a '(' without its ')'");
      return inner;
    }
    if (!IsNameChar(reader_.Peek())) {
      Fail(fmt::format("has '{}' where no part of a rule begins", Printable(reader_.Peek())));
      return {};
    }
    const std::string name = Name();
    return {.kind = Expression::Kind::kRule, .rule = NumberOf(name)};
  }

  Expression Quantified(Expression part) {
    if (reader_.Skip('*')) return Expression::Repeat(std::move(part), 0, std::nullopt);
    if (reader_.Skip('+')) return Expression::Repeat(std::move(part), 1, std::nullopt);
    if (reader_.Skip('?')) return Expression::Repeat(std::move(part), 0, 1);
    reader_.Skip('{');
    const auto bounds = reader_.Bounds();
    if (!bounds) {
      Fail(fmt::format("has a repetition that is not {{m}}, {{m,}} or {{m,n}} of at most {}",
                       kMaxRepetition));
      return part;
    }
    return Expression::Repeat(std::move(part), bounds->least, bounds->most);
  }

  Expression Literal() {
    std::vector<Expression> parts;
    while (ok() && !reader_.Skip('"')) {
      const uint32_t character = Character();
      parts.push_back(Expression::Chars(CharSet(character, character)));
    }
    return Expression::Of(Expression::Kind::kSequence, std::move(parts));
  }

  CharSet Class() {
    CharSet set;
    const bool inverted = reader_.Skip('^');
    while (ok() && !reader_.Skip(']')) {
      const uint32_t low = Character();
      uint32_t high = low;
      if (reader_.Peek() == '-' && reader_.Peek(1) != ']' && reader_.Left() > 1) {
        reader_.Take();
        high = Character();
      }
      if (high < low) Fail("has a range whose ends are not in order");
      set.Add(low, high);
    }
    return inverted ? set.Inverted() : set;
  }

  uint32_t Character() {
    if (reader_.AtEnd()) {
      Fail("ends within a literal or a character class");
      return 0;
    }
    if (reader_.Skip('\\')) return Escape();
    const auto character = reader_.Character();
    if (!character) Fail("is not UTF-8");
    return character.value_or(0);
  }

  uint32_t Escape() {
    const char letter = reader_.AtEnd() ? '\0' : reader_.Take();
    std::optional<uint32_t> number;
    switch (letter) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case '"':
      case '\\':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<uint8_t>(letter);
      case 'x':
        number = reader_.Hex(2);
        break;
      case 'u':
        number = reader_.Hex(4);
        break;
      case 'U':
        number = reader_.Hex(8);
        break;
      default:
        Fail(fmt::format("uses the unknown escape '\\{}'", Printable(letter)));
        return 0;
    }
    const bool is_character =
        number && *number <= kMaxCodePoint && !(*number >= 0xD800 && *number <= 0xDFFF);
    if (!is_character) Fail(fmt::format("has a '\\{}' without the number of a character", letter));
    return number.value_or(0);
  }

  std::string_view text_;
  TextReader reader_;
  std::vector<GbnfRule> rules_;
  std::map<std::string, int32_t> numbers_;
  std::optional<std::string> problem_;
};

class GbnfCompiler {
 public:
  explicit GbnfCompiler(const std::vector<GbnfRule>& rules) {
    for (const GbnfRule& rule : rules) builder_.NewRule(rule.name);
    for (size_t i = 0; i < rules.size(); ++i) {
      const auto rule = static_cast<NfaBuilder::Rule>(i);
      Add(builder_.start(rule), builder_.end(rule), rules[i].body);
    }
  }
  Result<Nfa> Build(NfaBuilder::Rule root) { return builder_.Build(root); }

 private:
  void Add(NfaBuilder::State from, NfaBuilder::State to, const Expression& expression) {
    if (!builder_.within_budget()) return;
    switch (expression.kind) {
      case Expression::Kind::kChars:
        return builder_.Chars(from, to, expression.set);
      case Expression::Kind::kRule:
        return builder_.Call(from, to, expression.rule);
      case Expression::Kind::kAlternatives:
        for (const Expression& part : expression.parts) Add(from, to, part);
        return;
      case Expression::Kind::kRepeat:
        return AddRepeat(from, to, expression);
      default:
        break;
    }
    for (const Expression& part : expression.parts) {
      const NfaBuilder::State next = builder_.NewState();
      Add(from, next, part);
      from = next;
    }
    builder_.Empty(from, to);
  }

  // Many copies of what is more than a byte are calls of one rule.
  void AddRepeat(NfaBuilder::State from, NfaBuilder::State to, const Expression& repeat) {
    const Expression& part = repeat.parts[0];
    const int64_t copies = repeat.most.value_or(repeat.least + 1);
    const bool is_small =
        part.kind == Expression::Kind::kRule ||
        (part.kind == Expression::Kind::kChars && Utf8SequencesOf(part.set).size() <= 1);
    if (copies <= 3 || is_small) {
      return Repeat(builder_, from, to, repeat.least, repeat.most,
                    [&](NfaBuilder::State a, NfaBuilder::State b) { Add(a, b, part); });
    }
    const NfaBuilder::Rule rule = builder_.NewRule("repeated");
    Add(builder_.start(rule), builder_.end(rule), part);
    Repeat(builder_, from, to, repeat.least, repeat.most,
           [&](NfaBuilder::State a, NfaBuilder::State b) { builder_.Call(a, b, rule); });
  }

  NfaBuilder builder_;
};

}  // namespace

Result<Nfa> CompileGbnf(std::string_view text) {
  GbnfParser parser(text);
  ASSIGN_OR_RETURN(const std::vector<GbnfRule> rules, parser.Parse());
  return GbnfCompiler(rules).Build(parser.root());
}

}  // namespace millrace::constrained_internal
