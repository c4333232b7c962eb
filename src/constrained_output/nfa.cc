#include "constrained_output/nfa.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace millrace::constrained_internal {
namespace {

// Rules in an order in which each stands before those that it begins with; an error names one that
// begins with itself. Kahn's algorithm (1962).
Status OrderRules(Nfa& nfa, const std::vector<std::string>& names) {
  std::vector<int32_t> callers(nfa.rules.size(), 0);
  const auto calls_of = [&](size_t rule) -> const std::vector<CallEdge>& {
    return nfa.states[At(nfa.rules[rule].start)].calls;
  };
  for (size_t rule = 0; rule < nfa.rules.size(); ++rule) {
    for (const CallEdge& call : calls_of(rule)) ++callers[At(call.rule)];
  }
  std::vector<size_t> ready;
  for (size_t rule = 0; rule < nfa.rules.size(); ++rule) {
    if (callers[rule] == 0) ready.push_back(rule);
  }
  int32_t next = 0;
  while (!ready.empty()) {
    const size_t rule = ready.back();
    ready.pop_back();
    nfa.rules[rule].order = next++;
    for (const CallEdge& call : calls_of(rule)) {
      if (--callers[At(call.rule)] == 0) ready.push_back(At(call.rule));
    }
  }
  if (At(next) == nfa.rules.size()) return {};
  // Who is left is in a cycle or called from one: walking back along callers ends up in it.
  std::vector<size_t> caller_of(nfa.rules.size(), 0);
  size_t rule = 0;
  for (size_t caller = 0; caller < nfa.rules.size(); ++caller) {
    if (callers[caller] == 0) continue;
    rule = caller;
    for (const CallEdge& call : calls_of(caller)) caller_of[At(call.rule)] = caller;
  }
  for (size_t step = 0; step < nfa.rules.size(); ++step) rule = caller_of[rule];
  return Error{
      fmt::format("The rule '{}' can begin with itself before any character: rewrite the "
                  "left recursion as a repetition.",
                  names[rule].substr(0, 100))};
}

}  // namespace

NfaBuilder::Rule NfaBuilder::NewRule(std::string name) {
  const State start = NewState(), end = NewState();
  rules_.push_back({std::move(name), start, end});
  return static_cast<Rule>(rules_.size() - 1);
}

NfaBuilder::State NfaBuilder::NewState() {
  if (states_.size() >= kMaxStates) {
    within_budget_ = false;
    return 0;
  }
  states_.emplace_back();
  return static_cast<State>(states_.size() - 1);
}

void NfaBuilder::CountEdge() {
  if (++edges_ > kMaxEdges) within_budget_ = false;
}

void NfaBuilder::Empty(State from, State to) {
  CountEdge();
  if (within_budget_) states_[At(from)].empties.push_back(to);
}

void NfaBuilder::Symbols(State from, State to, uint16_t low, uint16_t high) {
  CountEdge();
  if (within_budget_) states_[At(from)].bytes.push_back({low, high, to});
}

void NfaBuilder::Call(State from, State to, Rule rule) {
  CountEdge();
  if (within_budget_) states_[At(from)].calls.push_back({rule, to});
}

void NfaBuilder::Literal(State from, State to, std::string_view bytes) {
  if (bytes.empty()) return Empty(from, to);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const State next = i + 1 < bytes.size() ? NewState() : to;
    const auto byte = static_cast<uint8_t>(bytes[i]);
    Symbols(from, next, byte, byte);
    from = next;
    if (!within_budget_) return;
  }
}

void NfaBuilder::Control(State from, State to, std::string_view text) {
  const State named = NewState();
  Symbols(from, named, kControlSymbol, kControlSymbol);
  Literal(named, to, text);
}

NfaBuilder::Rule NfaBuilder::Embed(const Nfa& nfa) {
  const auto first = static_cast<Rule>(rules_.size());
  for (size_t i = 0; i < nfa.rules.size(); ++i) NewRule("embedded");
  std::vector<State> state_of(nfa.states.size(), -1);
  std::vector<int32_t> waiting;
  const auto map_state = [&](int32_t old) {
    if (state_of[At(old)] < 0) {
      state_of[At(old)] = NewState();
      waiting.push_back(old);
    }
    return state_of[At(old)];
  };
  for (size_t i = 0; i < nfa.rules.size() && within_budget_; ++i) {
    const Rule rule = first + static_cast<Rule>(i);
    Empty(start(rule), map_state(nfa.rules[i].start));
    while (!waiting.empty() && within_budget_) {  // the states of one rule are of no other
      const int32_t old = waiting.back();
      waiting.pop_back();
      const State from = state_of[At(old)];
      const NfaState& state = nfa.states[At(old)];
      if (state.accepts) Empty(from, end(rule));
      for (const ByteEdge& edge : state.bytes) {
        Symbols(from, map_state(edge.target), edge.low, edge.high);
      }
      for (const CallEdge& call : state.calls)
        Call(from, map_state(call.target), first + call.rule);
    }
  }
  return first + nfa.root;
}

void NfaBuilder::Chars(State from, State to, const CharSet& set) {
  // Sequences that go on with the same bytes share the states for them.
  struct Shared {
    uint8_t low, high;
    State target, state;
  };
  std::vector<Shared> shared;
  for (const Utf8Sequence& sequence : Utf8SequencesOf(set)) {
    State target = to;
    for (size_t i = sequence.length; i-- > 1;) {
      // Not a structured binding: clang 14 cannot capture one.
      const uint8_t low = sequence.bytes[i].low, high = sequence.bytes[i].high;
      const auto known = std::find_if(shared.begin(), shared.end(), [&](const Shared& s) {
        return s.low == low && s.high == high && s.target == target;
      });
      if (known != shared.end()) {
        target = known->state;
        continue;
      }
      const State state = NewState();
      Symbols(state, target, low, high);
      shared.push_back({low, high, target, state});
      target = state;
    }
    Symbols(from, target, sequence.bytes[0].low, sequence.bytes[0].high);
    if (!within_budget_) return;
  }
}

// Adds an empty edge beside each call of a rule that can be empty. Each state that the beginning of
// a rule reaches without a symbol is visited once, so this takes time linear in the grammar.
void NfaBuilder::PassByEmptyRules() {
  std::vector<std::vector<std::pair<State, State>>> callers(rules_.size());
  std::vector<int32_t> rule_ending_at(states_.size(), -1);
  for (size_t state = 0; state < states_.size(); ++state) {
    for (const CallEdge& call : states_[state].calls) {
      callers[At(call.rule)].emplace_back(static_cast<State>(state), call.target);
    }
  }
  std::vector<char> visited(states_.size(), 0), is_empty(rules_.size(), 0);
  std::vector<State> waiting;
  const auto visit = [&](State state) {
    if (visited[At(state)]) return;
    visited[At(state)] = 1;
    waiting.push_back(state);
  };
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    rule_ending_at[At(rules_[rule].end)] = static_cast<int32_t>(rule);
    visit(rules_[rule].start);
  }
  while (!waiting.empty()) {
    const State state = waiting.back();
    waiting.pop_back();
    for (const State next : states_[At(state)].empties) visit(next);
    for (const CallEdge& call : states_[At(state)].calls) {
      if (is_empty[At(call.rule)]) visit(call.target);
    }
    const int32_t rule = rule_ending_at[At(state)];
    if (rule < 0) continue;
    is_empty[At(rule)] = 1;
    for (const auto& [from, to] : callers[At(rule)]) {
      if (visited[At(from)]) visit(to);
    }
  }
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    if (!is_empty[rule]) continue;
    for (const auto& [from, to] : callers[rule]) states_[At(from)].empties.push_back(to);
  }
}

// Removes the edges from which no end of the rule can be reached.
void NfaBuilder::Prune() {
  std::vector<std::vector<State>> before(states_.size());
  // A call leads on once both its target and the rule do.
  struct Caller {
    State from, to;
    Rule rule;
  };
  std::vector<std::vector<Caller>> calls_into(states_.size()), calls_of(rules_.size());
  std::vector<std::vector<Rule>> begins(states_.size());
  for (size_t state = 0; state < states_.size(); ++state) {
    const auto from = static_cast<State>(state);
    for (const State next : states_[state].empties) before[At(next)].push_back(from);
    for (const ByteEdge& edge : states_[state].bytes) before[At(edge.target)].push_back(from);
    for (const CallEdge& call : states_[state].calls) {
      calls_into[At(call.target)].push_back({from, call.target, call.rule});
      calls_of[At(call.rule)].push_back({from, call.target, call.rule});
    }
  }
  std::vector<char> leads_on(states_.size(), 0), has_text(rules_.size(), 0);
  std::vector<State> waiting;
  const auto mark = [&](State state) {
    if (leads_on[At(state)]) return;
    leads_on[At(state)] = 1;
    waiting.push_back(state);
  };
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    begins[At(rules_[rule].start)].push_back(static_cast<Rule>(rule));
    mark(rules_[rule].end);
  }
  while (!waiting.empty()) {
    const State state = waiting.back();
    waiting.pop_back();
    for (const State previous : before[At(state)]) mark(previous);
    for (const Caller& caller : calls_into[At(state)]) {
      if (has_text[At(caller.rule)]) mark(caller.from);
    }
    for (const Rule rule : begins[At(state)]) {
      has_text[At(rule)] = 1;
      for (const Caller& caller : calls_of[At(rule)]) {
        if (leads_on[At(caller.to)]) mark(caller.from);
      }
    }
  }
  for (Draft& state : states_) {
    const auto dead = [&](State target) { return !leads_on[At(target)]; };
    std::erase_if(state.empties, dead);
    std::erase_if(state.bytes, [&](const ByteEdge& edge) { return dead(edge.target); });
    std::erase_if(state.calls, [&](const CallEdge& call) {
      return dead(call.target) || !has_text[At(call.rule)];
    });
  }
}

Result<Nfa> NfaBuilder::WithoutEmptyEdges(Rule root) const {
  Nfa nfa;
  std::vector<std::string> names;
  std::vector<int32_t> state_of(states_.size(), -1), rule_of(rules_.size(), -1);
  std::vector<std::pair<State, State>> waiting;  // the old state, and the end of its rule
  const auto map_state = [&](State old, State end) {
    if (state_of[At(old)] < 0) {
      state_of[At(old)] = static_cast<int32_t>(nfa.states.size());
      nfa.states.emplace_back();
      waiting.emplace_back(old, end);
    }
    return state_of[At(old)];
  };
  const auto map_rule = [&](Rule old) {
    if (rule_of[At(old)] < 0) {
      rule_of[At(old)] = static_cast<int32_t>(nfa.rules.size());
      names.push_back(rules_[At(old)].name);
      nfa.rules.push_back({0, 0});
      nfa.rules[At(rule_of[At(old)])].start = map_state(rules_[At(old)].start, rules_[At(old)].end);
    }
    return rule_of[At(old)];
  };
  nfa.root = map_rule(root);
  std::vector<uint32_t> seen(states_.size(), 0);
  uint32_t round = 0;
  size_t work = 0;
  std::vector<State> reached;
  while (!waiting.empty()) {
    const auto [old, end] = waiting.back();
    waiting.pop_back();
    reached.assign(1, old);
    seen[At(old)] = ++round;
    NfaState made;
    for (size_t i = 0; i < reached.size(); ++i) {
      const Draft& draft = states_[At(reached[i])];
      made.accepts |= reached[i] == end;
      for (const ByteEdge& edge : draft.bytes) {
        made.bytes.push_back({edge.low, edge.high, map_state(edge.target, end)});
      }
      for (const CallEdge& call : draft.calls) {
        made.calls.push_back({map_rule(call.rule), map_state(call.target, end)});
      }
      for (const State next : draft.empties) {
        if (seen[At(next)] == round) continue;
        seen[At(next)] = round;
        reached.push_back(next);
      }
    }
    work += reached.size() + made.bytes.size() + made.calls.size();
    if (work > 4 * kMaxEdges) return Error{"", ErrorKind::kTooLarge};
    std::sort(made.bytes.begin(), made.bytes.end());
    made.bytes.erase(std::unique(made.bytes.begin(), made.bytes.end()), made.bytes.end());
    std::sort(made.calls.begin(), made.calls.end());
    made.calls.erase(std::unique(made.calls.begin(), made.calls.end()), made.calls.end());
    nfa.states[At(state_of[At(old)])] = std::move(made);
  }
  RETURN_IF_ERROR(OrderRules(nfa, names));
  return nfa;
}

Result<Nfa> NfaBuilder::Build(Rule root) {
  const Error too_large{
      fmt::format("The grammar is too large: it needs more than {} states or {} edges; use shorter "
                  "bounds of repetition or fewer alternatives.",
                  kMaxStates, kMaxEdges),
      ErrorKind::kUnsupported};
  if (!within_budget_) return too_large;
  PassByEmptyRules();
  Prune();
  Result<Nfa> nfa = WithoutEmptyEdges(root);
  if (!nfa.ok() && nfa.error().kind == ErrorKind::kTooLarge) return too_large;
  if (!nfa.ok()) return nfa.error();
  const NfaState& first = nfa->states[At(nfa->rules[At(nfa->root)].start)];
  if (!first.accepts && first.bytes.empty() && first.calls.empty()) {
    return Error{"The grammar matches no text at all."};
  }
  return nfa;
}

}  // namespace millrace::constrained_internal
