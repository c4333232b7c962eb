#include "constrained_output/automaton.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace millrace::constrained_internal {
namespace {

// The tail of the whole text: nothing follows; and of a text of which nothing is known but that it
// goes on somehow (used for what is known whatever the tail: its end counts as accepting).
constexpr int32_t kEndTail = 0;

bool HasEdges(const NfaState& state) { return !state.bytes.empty() || !state.calls.empty(); }

}  // namespace

Automaton::Automaton(const Nfa& nfa, const OutputVocabulary& vocabulary)
    : nfa_(nfa), vocabulary_(vocabulary) {
  std::vector<char> begins(kSymbols + 1, 0);
  begins[0] = begins[kControlSymbol] = 1;
  for (const NfaState& state : nfa_.states) {
    int32_t width = 0;
    for (const ByteEdge& edge : state.bytes) {
      begins[edge.low] = begins[edge.high + 1] = 1;
      width += edge.high - edge.low + 1;
    }
    width_.push_back(width);
  }
  for (uint16_t symbol = 0; symbol < kSymbols; ++symbol) {
    if (begins[symbol]) symbol_of_.push_back(symbol);
    class_of_.push_back(static_cast<uint16_t>(symbol_of_.size() - 1));
  }
  path_.resize(vocabulary_.trie().max_depth() + 1);
  std::vector<Item> none;
  CHECK(Intern(none, false) == kDead);
  tails_.push_back({.first = 0, .count = 0, .accepts = true, .depth = 0});
  state_of_tail_.push_back(kUnknown);
  // As if something had called the root rule.
  const int32_t start = nfa_.rules[At(nfa_.root)].start;
  std::vector<Item> first = {{start, kEndTail}};
  initial_ = Close(first);
}

// The state made of the items `raw`, each of which has just consumed a symbol (or is the first).
Automaton::StateId Automaton::Close(std::vector<Item>& raw) {
  bool accepts = false;
  list_.clear();
  calls_.clear();
  noted_calls_.Clear();
  noted_items_.Clear();
  for (const Item& item : raw) {
    list_.push_back(item);
    if (!nfa_.states[At(item.state)].accepts) continue;
    const Set tail = tails_[At(item.tail)];
    accepts |= tail.accepts;
    NoteItemsOf(tail, list_);
    if (list_.size() > 4 * kMaxItems) exhausted_ = true;
    if (exhausted_) return kDead;
  }
  for (size_t i = 0, known = list_.size(); i < known; ++i) Enter(Item(list_[i]));
  // Rules from outer to inner: when one's turn comes, all its callers are known.
  const auto later = [](const PendingCall& a, const PendingCall& b) { return a.order > b.order; };
  std::make_heap(calls_.begin(), calls_.end(), later);
  std::vector<Item> back;
  while (!calls_.empty() && !exhausted_) {
    const int32_t rule = calls_.front().rule;
    back.clear();
    while (!calls_.empty() && calls_.front().rule == rule) {
      std::pop_heap(calls_.begin(), calls_.end(), later);
      back.push_back(calls_.back().back);
      calls_.pop_back();
    }
    const int32_t tail = InternTail(back);
    if (tails_[At(tail)].depth > kMaxNesting) continue;
    const size_t before = calls_.size();
    list_.push_back({nfa_.rules[At(rule)].start, tail});
    Enter(Item(list_.back()));
    for (size_t end = before + 1; end <= calls_.size(); ++end) {
      std::push_heap(calls_.begin(), calls_.begin() + static_cast<std::ptrdiff_t>(end), later);
    }
  }
  std::erase_if(list_, [&](const Item& item) { return nfa_.states[At(item.state)].bytes.empty(); });
  std::sort(list_.begin(), list_.end());
  list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
  work_ += raw.size() + list_.size();
  if (list_.size() > kMaxItems || bytes() > kMaxBytes || work_ > kMaxWork) exhausted_ = true;
  if (exhausted_) return kDead;
  return Intern(list_, accepts);
}

void Automaton::NoteItem(const Item& item, std::vector<Item>& items) {
  if (noted_items_.Add(0, item.key())) items.push_back(item);
}

void Automaton::NoteItemsOf(const Set& tail, std::vector<Item>& items) {
  for (size_t i = tail.first; i < tail.first + tail.count; ++i) NoteItem(items_[i], items);
}

// Notes the calls that the item begins with, each once: where parts of a pattern may be empty, many
// items begin with the same.
void Automaton::Enter(const Item& item) {
  const std::vector<CallEdge>& calls = nfa_.states[At(item.state)].calls;
  work_ += calls.size() / 8;  // most of many are known already
  for (const CallEdge& call : calls) {
    const Item back{call.target, item.tail};
    if (!noted_calls_.Add(static_cast<uint64_t>(call.rule), back.key())) continue;
    calls_.push_back({nfa_.rules[At(call.rule)].order, call.rule, back});
  }
  if (calls_.size() > 4 * kMaxItems) exhausted_ = true;
}

int32_t Automaton::Find(const std::vector<Item>& sorted, bool accepts, const std::vector<Set>& sets,
                        std::unordered_multimap<uint64_t, int32_t>& index, uint64_t& hash) const {
  hash = accepts ? 1 : 0;
  for (const Item& item : sorted) {
    hash =
        Mix64(hash ^ (static_cast<uint64_t>(item.state) << 32 | static_cast<uint32_t>(item.tail)));
  }
  const auto [begin, end] = index.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    const Set& set = sets[At(at->second)];
    if (set.accepts == accepts && set.count == sorted.size() &&
        std::equal(sorted.begin(), sorted.end(),
                   items_.begin() + static_cast<std::ptrdiff_t>(set.first))) {
      return at->second;
    }
  }
  return kUnknown;
}

// The tail of a rule that goes back to any of `back`: with what follows those that may end at once
// already in it, so that leaving a rule never takes more than one look.
int32_t Automaton::InternTail(std::vector<Item>& back) {
  closed_.clear();
  noted_items_.Clear();
  bool ends = false;
  for (const Item& item : back) {
    const NfaState& state = nfa_.states[At(item.state)];
    if (HasEdges(state)) NoteItem(item, closed_);
    if (!state.accepts) continue;
    const Set& tail = tails_[At(item.tail)];
    ends |= tail.accepts;
    NoteItemsOf(tail, closed_);
  }
  std::sort(closed_.begin(), closed_.end());
  work_ += back.size() + closed_.size();
  if (closed_.size() > kMaxItems) exhausted_ = true;
  uint64_t hash = 0;
  if (closed_.empty() && ends) return kEndTail;
  const int32_t known = Find(closed_, ends, tails_, tail_index_, hash);
  if (known != kUnknown) return known;
  Set made{.first = items_.size(), .count = closed_.size(), .accepts = ends, .depth = 1};
  for (const Item& item : closed_)
    made.depth = std::max(made.depth, tails_[At(item.tail)].depth + 1);
  items_.insert(items_.end(), closed_.begin(), closed_.end());
  tails_.push_back(made);
  state_of_tail_.push_back(kUnknown);
  tail_index_.emplace(hash, static_cast<int32_t>(tails_.size() - 1));
  return static_cast<int32_t>(tails_.size() - 1);
}

Automaton::StateId Automaton::Intern(std::vector<Item>& sorted, bool accepts) {
  uint64_t hash = 0;
  const int32_t known = Find(sorted, accepts, states_, state_index_, hash);
  if (known != kUnknown) return known;
  states_.push_back(
      {.first = items_.size(), .count = sorted.size(), .accepts = accepts, .depth = 0});
  items_.insert(items_.end(), sorted.begin(), sorted.end());
  next_.resize(next_.size() + symbol_of_.size(), sorted.empty() ? kDead : kUnknown);
  behind_plain_.push_back(kUnknown);
  state_index_.emplace(hash, static_cast<int32_t>(states_.size() - 1));
  return static_cast<StateId>(states_.size() - 1);
}

Automaton::StateId Automaton::Compute(StateId from, uint16_t symbol) {
  raw_.clear();
  const Set set = states_[At(from)];
  work_ += set.count;
  for (size_t i = set.first; i < set.first + set.count; ++i) {
    for (const ByteEdge& edge : nfa_.states[At(items_[i].state)].bytes) {
      if (edge.low <= symbol && symbol <= edge.high) raw_.push_back({edge.target, items_[i].tail});
    }
  }
  return raw_.empty() ? kDead : Close(raw_);
}

Automaton::StateId Automaton::Next(StateId from, uint16_t symbol) {
  const size_t at = At(from) * symbol_of_.size() + class_of_[symbol];
  if (next_[at] == kUnknown) {
    const StateId to = Compute(from, symbol);
    if (exhausted_) return kDead;  // is not kept: it may be wrong
    next_[at] = to;
  }
  return next_[at];
}

Automaton::StateId Automaton::NextToken(StateId from, TokenId id) {
  const OutputVocabulary::Token& token = vocabulary_.token(id);
  if (token.bytes.empty()) return kDead;
  work_ = 0;
  if (token.control) from = Next(from, kControlSymbol);
  for (const char byte : token.bytes) {
    if (from == kDead) break;
    from = Next(from, static_cast<uint8_t>(byte));
  }
  return from;
}

size_t Automaton::bytes() const {
  constexpr size_t kPerSet = sizeof(Set) + 4 * sizeof(void*) + sizeof(uint64_t);
  return items_.size() * sizeof(Item) + (states_.size() + tails_.size()) * kPerSet +
         (next_.size() + behind_plain_.size()) * sizeof(StateId) + part_bytes_ +
         masks_.size() * (static_cast<size_t>(vocabulary_.size()) / 8 + 64);
}

Automaton::StateId Automaton::CopyState(const Automaton& other, StateId state) {
  // A tail's own tails are older than itself, so the order of numbers builds from the bottom.
  const Set& set = other.states_[At(state)];
  std::vector<char> wanted(other.tails_.size(), 0);
  const auto want = [&](const Set& s) {
    for (size_t i = s.first; i < s.first + s.count; ++i) wanted[At(other.items_[i].tail)] = 1;
  };
  want(set);
  for (size_t tail = wanted.size(); tail-- > 0;) {
    if (wanted[tail]) want(other.tails_[tail]);
  }
  std::vector<int32_t> tail_of(other.tails_.size(), kEndTail);
  const auto copied = [&](const Set& s) {
    std::vector<Item> items;
    for (size_t i = s.first; i < s.first + s.count; ++i) {
      items.push_back({other.items_[i].state, tail_of[At(other.items_[i].tail)]});
    }
    std::sort(items.begin(), items.end());
    return items;
  };
  for (size_t tail = 1; tail < wanted.size(); ++tail) {
    if (!wanted[tail]) continue;
    const Set& old = other.tails_[tail];
    std::vector<Item> items = copied(old);
    uint64_t hash = 0;
    int32_t made = Find(items, old.accepts, tails_, tail_index_, hash);
    if (made == kUnknown) {
      made = static_cast<int32_t>(tails_.size());
      tails_.push_back({items_.size(), items.size(), old.accepts, old.depth});
      items_.insert(items_.end(), items.begin(), items.end());
      state_of_tail_.push_back(kUnknown);
      tail_index_.emplace(hash, made);
    }
    tail_of[tail] = made;
  }
  std::vector<Item> items = copied(set);
  return Intern(items, set.accepts);
}

}  // namespace millrace::constrained_internal
