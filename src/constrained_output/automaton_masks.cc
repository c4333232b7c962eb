// The token masks of an Automaton's states.
#include <algorithm>
#include <utility>

#include "constrained_output/automaton.h"

namespace millrace::constrained_internal {
namespace {

// Masks of the tokens allowed in many places are put together from parts; others are walked for.
constexpr int32_t kWide = 48;             // bytes that go on
constexpr size_t kLargeTrie = 20'000;     // nodes: so many that steps of plain characters pay
constexpr size_t kMostParts = 8;          // items
constexpr size_t kMaskBytes = 32u << 20;  // of masks that are kept

}  // namespace

// Allows the tokens of the trie's nodes [begin, end), the first of which is at `depth`, that lead
// on from `from`; `open` gets the nodes behind which more bytes could follow a whole text.
void Automaton::Walk(StateId from, size_t begin, size_t end, size_t depth, TokenMask& mask,
                     std::vector<int32_t>* open) {
  const TokenTrie& trie = vocabulary_.trie();
  const auto nodes = trie.nodes();
  const bool large = nodes.size() >= kLargeTrie;
  path_[depth] = from;
  for (size_t i = begin; i < end && !exhausted_;) {
    const TokenTrie::Node node = nodes[i];
    if (large && node.plain_characters > 0 &&
        GoesOnPlain(path_[node.depth], node.plain_characters)) {
      // Where the rule may end within them needs no note: all tokens from here on are allowed.
      for (const int32_t token : trie.TokensFrom(i)) mask.Allow(TokenId(token));
      i = At(node.end);
      continue;
    }
    const StateId state = Next(path_[node.depth], node.byte);
    if (state == kDead) {
      i = At(node.end);
      continue;
    }
    if (node.has_tokens) {
      for (const int32_t token : trie.TokensAt(i)) mask.Allow(TokenId(token));
    }
    if (open != nullptr && At(node.end) > i + 1 && accepts(state)) {
      open->push_back(static_cast<int32_t>(i));
    }
    path_[node.depth + 1] = state;
    ++i;
  }
}

// Whether all characters of the form, of which `place` bytes have led to `from`, lead to `to`.
bool Automaton::AllLeadTo(StateId from, const CharacterForm& form, int32_t place, StateId to) {
  const ByteRange range = form.range[place];
  StateId before = kUnknown;
  for (uint16_t symbol = range.low; symbol <= range.high; ++symbol) {
    const StateId next = Next(from, symbol);
    if (next == before) continue;  // of one class with the last
    before = next;
    const bool last = place + 1 == form.bytes;
    if (next == kDead || (last ? next != to : !AllLeadTo(next, form, place + 1, to))) return false;
  }
  return true;
}

// The state behind any one plain character; kDead where that depends on the character, or some
// cannot come.
Automaton::StateId Automaton::BehindPlain(StateId from) {
  if (behind_plain_[At(from)] != kUnknown) return behind_plain_[At(from)];
  StateId to = Next(from, kPlainCharacters[0].range[0].low);
  for (const CharacterForm& form : kPlainCharacters) {
    if (to == kDead || !AllLeadTo(from, form, 0, to)) to = kDead;
  }
  if (!exhausted_) behind_plain_[At(from)] = to;
  return to;
}

// Whether any so many plain characters can come, one after the other.
bool Automaton::GoesOnPlain(StateId from, int32_t characters) {
  for (; characters > 0 && from != kDead; --characters) from = BehindPlain(from);
  return from != kDead;
}

const Automaton::Part& Automaton::PartOf(int32_t nfa_state) {
  const auto known = parts_.find(nfa_state);
  if (known != parts_.end()) return known->second;
  Part part{.mask = TokenMask(vocabulary_.size()), .open = {}};
  // With the end behind it: where that is met, the rule may end.
  std::vector<Item> alone = {{nfa_state, 0}};
  const StateId state = Intern(alone, false);
  Walk(state, 0, vocabulary_.trie().nodes().size(), 0, part.mask, &part.open);
  part_bytes_ += static_cast<size_t>(vocabulary_.size()) / 8 + part.open.size() * sizeof(int32_t);
  return parts_.emplace(nfa_state, std::move(part)).first->second;
}

// What follows an item whose rule has ended.
Automaton::StateId Automaton::StateOfTail(int32_t tail) {
  if (state_of_tail_[At(tail)] < 0) {
    const Set set = tails_[At(tail)];
    std::vector<Item> raw(items_.begin() + static_cast<std::ptrdiff_t>(set.first),
                          items_.begin() + static_cast<std::ptrdiff_t>(set.first + set.count));
    const StateId state = raw.empty() ? kDead : Close(raw);
    if (exhausted_) return kDead;
    state_of_tail_[At(tail)] = state;
  }
  return state_of_tail_[At(tail)];
}

bool Automaton::IsWide(StateId state) const {
  const Set& set = states_[At(state)];
  if (set.count > kMostParts) return false;
  for (size_t i = set.first; i < set.first + set.count; ++i) {
    if (width_[At(items_[i].state)] >= kWide) return true;
  }
  return false;
}

void Automaton::AllowControlTokens(StateId state, TokenMask& mask) {
  if (Next(state, kControlSymbol) == kDead) return;
  for (const TokenId token : vocabulary_.control_tokens()) {
    if (NextToken(state, token) != kDead) mask.Allow(token);
  }
}

std::shared_ptr<const TokenMask> Automaton::MaskOf(StateId state) {
  const auto known = masks_.find(state);
  if (known != masks_.end()) return known->second;
  work_ = 0;
  auto mask = std::make_shared<TokenMask>(vocabulary_.size());
  const auto nodes = vocabulary_.trie().nodes();
  if (IsWide(state)) {
    const Set set = states_[At(state)];
    for (size_t i = set.first; i < set.first + set.count; ++i) {
      const Item item = items_[i];
      const Part& part = PartOf(item.state);
      mask->AllowAllOf(part.mask);
      const StateId behind = StateOfTail(item.tail);
      if (behind == kDead) continue;
      for (const int32_t node : part.open) {
        const TokenTrie::Node& at = nodes[At(node)];
        Walk(behind, At(node) + 1, At(at.end), at.depth + size_t{1}, *mask, nullptr);
      }
    }
  } else {
    Walk(state, 0, nodes.size(), 0, *mask, nullptr);
  }
  AllowControlTokens(state, *mask);
  if (accepts(state)) {
    for (const TokenId token : vocabulary_.end_tokens()) mask->Allow(token);
  }
  if (exhausted_) return mask;
  const size_t each = static_cast<size_t>(vocabulary_.size()) / 8 + 64;
  if ((masks_.size() + 1) * each > kMaskBytes) masks_.clear();
  masks_.emplace(state, mask);
  return mask;
}

bool Automaton::PrepareMasks(const Clock& clock, TimePoint deadline) {
  MaskOf(initial_);
  if (exhausted_) return false;
  for (size_t state = 0; state < nfa_.states.size(); ++state) {
    if (width_[state] < kWide) continue;
    if (clock.Now() >= deadline || exhausted_) break;
    work_ = 0;
    PartOf(static_cast<int32_t>(state));
  }
  return true;
}

}  // namespace millrace::constrained_internal
