// Nfa: a context-free grammar over bytes, as one nondeterministic automaton per rule whose edges
// are bytes or calls of rules (a recursive transition network; Woods, Transition Network Grammars,
// CACM 1970), and NfaBuilder, which makes it.
//
// Invariants of an Nfa: it has no empty edges and no left recursion; every edge leads towards some
// whole text; a rule that can be empty is never called for the empty text (its callers have edges
// that pass it by), so that a called rule consumes at least one symbol.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "constrained_output/char_set.h"

namespace millrace::constrained_internal {

// Bytes are the symbols 0 to 255. Before the text of a control token stands a symbol of its own, so
// that nothing that matches text can match it.
inline constexpr uint16_t kControlSymbol = 256;
inline constexpr int kSymbols = 257;

// A number as an index.
inline size_t At(int32_t number) { return static_cast<size_t>(number); }

struct ByteEdge {
  uint16_t low, high;  // symbols, both included
  int32_t target;
  friend auto operator<=>(const ByteEdge&, const ByteEdge&) = default;
};
struct CallEdge {
  int32_t rule;
  int32_t target;  // where the caller goes on
  friend auto operator<=>(const CallEdge&, const CallEdge&) = default;
};

struct NfaState {
  std::vector<ByteEdge> bytes;
  std::vector<CallEdge> calls;
  bool accepts = false;  // the rule may end here
};

struct Nfa {
  struct Rule {
    int32_t start;
    int32_t order;  // a rule that begins with a call of another has a smaller one
  };
  std::vector<NfaState> states;
  std::vector<Rule> rules;
  int32_t root = 0;  // a rule
};

class NfaBuilder {
 public:
  // What a grammar may need; past it Build gives an error. Both keep compiling within 100 ms.
  static constexpr size_t kMaxStates = 60'000;
  static constexpr size_t kMaxEdges = 400'000;

  using State = int32_t;
  using Rule = int32_t;

  Rule NewRule(std::string name);
  State start(Rule rule) const { return rules_[static_cast<size_t>(rule)].start; }
  State end(Rule rule) const { return rules_[static_cast<size_t>(rule)].end; }
  State NewState();  // past the budget, an old one
  bool within_budget() const { return within_budget_; }

  void Empty(State from, State to);
  void Symbols(State from, State to, uint16_t low, uint16_t high);
  void Call(State from, State to, Rule rule);
  void Literal(State from, State to, std::string_view bytes);
  void Chars(State from, State to, const CharSet& set);
  // A control token by its text.
  void Control(State from, State to, std::string_view text);
  // The rules of a built automaton, as rules of this one; its root's is returned.
  Rule Embed(const Nfa& nfa);

  // The automaton of all rules that `root` needs. Errors: over budget, left recursion, no text at
  // all.
  Result<Nfa> Build(Rule root);

 private:
  struct Draft {
    std::vector<State> empties;
    std::vector<ByteEdge> bytes;
    std::vector<CallEdge> calls;
  };
  struct DraftRule {
    std::string name;
    State start, end;
  };
  void CountEdge();
  void PassByEmptyRules();
  void Prune();
  Result<Nfa> WithoutEmptyEdges(Rule root) const;

  std::vector<Draft> states_;
  std::vector<DraftRule> rules_;
  size_t edges_ = 0;
  bool within_budget_ = true;
};

}  // namespace millrace::constrained_internal
