// Automaton: a deterministic automaton over an Nfa with calls, made state by state as texts are
// followed, and the token masks of its states.
//
// A state of the pushdown automaton is a set of items (state of the Nfa, tail); a tail says what
// may follow once the item's rule ends: again a set of items. Equal sets are one set with one
// number, so what has the same future is the same state, whatever came before: this is the
// graph-structured stack of Tomita (Efficient Parsing for Natural Language, 1985) with the sharing
// of subset construction, made on demand as in Thompson's and RE2's lazy automata. Nothing grows
// exponentially in the grammar, and a tail that only leads on to another is left out, so that
// repetition by right recursion needs no depth.
//
// Masks: of each Nfa state it is kept which tokens stay within its rule, whatever the tail, and
// where in the trie the rule ends within a token (the split of context-independent and
// -dependent tokens of Dong et al., XGrammar, 2024, section 3.1); only the rest is walked per tail.
// Where every plain character leads to the same state, as within a string, be it counted, parts of
// the trie that hold nothing else are taken whole.
//
// Invariants: a state other than kDead leads to a whole text, unless that needs more nesting than
// kMaxNesting; a number stays valid as long as the Automaton lives. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "constrained_output/nfa.h"
#include "constrained_output/output_vocabulary.h"
#include "constrained_output/quick_set.h"
#include "constrained_output/token_mask.h"
#include "constrained_output/token_trie.h"

namespace millrace::constrained_internal {

class Automaton {
 public:
  // Rules within rules, as JSON values within values, that a text may have open at once.
  static constexpr int32_t kMaxNesting = 1000;
  static constexpr size_t kMaxItems = 4096;        // of one state
  static constexpr size_t kMaxBytes = 256u << 20;  // of the whole automaton
  // Items looked at for one mask: about a tenth of a second. An answer waits for its masks, and the
  // others of its batch with it.
  static constexpr size_t kMaxWork = 4'000'000;

  using StateId = int32_t;
  static constexpr StateId kDead = 0;

  // Both must outlive it.
  Automaton(const Nfa& nfa, const OutputVocabulary& vocabulary);

  StateId initial() const { return initial_; }
  // Symbols as in nfa.h. kDead: no text goes on like that.
  StateId Next(StateId from, uint16_t symbol);
  // Behind all bytes of the token; kDead for one without bytes.
  StateId NextToken(StateId from, TokenId token);
  bool accepts(StateId state) const { return states_[At(state)].accepts; }  // the text is whole
  bool CanGoOn(StateId state) const { return states_[At(state)].count > 0; }
  // The tokens that lead to another state than kDead, and the vocabulary's end tokens where the
  // text is whole.
  std::shared_ptr<const TokenMask> MaskOf(StateId state);
  // Computes the first mask and, until `deadline`, what masks of any state will need. Whether the
  // first met no limit.
  bool PrepareMasks(const Clock& clock, TimePoint deadline);

  // Whether a limit was met, so that a state or mask may lack what the grammar allows.
  bool exhausted() const { return exhausted_; }
  size_t bytes() const;
  // The state of `other`, an Automaton of the same Nfa and vocabulary, in this one.
  StateId CopyState(const Automaton& other, StateId state);

 private:
  static constexpr StateId kUnknown = -1;  // not computed yet

  struct Item {
    int32_t state, tail;
    friend auto operator<=>(const Item&, const Item&) = default;
    uint64_t key() const {
      return static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(tail);
    }
  };
  struct Set {  // of items, in items_
    size_t first = 0, count = 0;
    bool accepts = false;  // of a tail: the whole text may end here
    int32_t depth = 0;     // of a tail
  };
  // What is known of an Nfa state whatever its tail.
  struct Part {
    TokenMask mask;
    std::vector<int32_t> open;  // trie nodes at which its rule may end, before further bytes
  };
  struct PendingCall {
    int32_t order, rule;
    Item back;
  };

  StateId Compute(StateId from, uint16_t symbol);
  void NoteItem(const Item& item, std::vector<Item>& items);
  void NoteItemsOf(const Set& tail, std::vector<Item>& items);
  StateId Close(std::vector<Item>& raw);
  void Enter(const Item& item);
  int32_t InternTail(std::vector<Item>& back);
  StateId Intern(std::vector<Item>& sorted, bool accepts);
  int32_t Find(const std::vector<Item>& sorted, bool accepts, const std::vector<Set>& sets,
               std::unordered_multimap<uint64_t, int32_t>& index, uint64_t& hash) const;
  StateId StateOfTail(int32_t tail);
  void Walk(StateId from, size_t begin, size_t end, size_t depth, TokenMask& mask,
            std::vector<int32_t>* open);
  StateId BehindPlain(StateId from);
  bool AllLeadTo(StateId from, const CharacterForm& form, int32_t place, StateId to);
  bool GoesOnPlain(StateId from, int32_t characters);
  const Part& PartOf(int32_t nfa_state);
  bool IsWide(StateId state) const;
  void AllowControlTokens(StateId state, TokenMask& mask);

  const Nfa& nfa_;
  const OutputVocabulary& vocabulary_;
  std::vector<uint16_t> class_of_;   // symbols that no edge tells apart are of one class
  std::vector<uint16_t> symbol_of_;  // one of each class
  std::vector<int32_t> width_;       // of each Nfa state: how many bytes go on

  std::vector<Item> items_;
  std::vector<Set> states_, tails_;
  std::vector<StateId> next_;          // [state][class]; kUnknown: not computed yet
  std::vector<StateId> behind_plain_;  // of each state: BehindPlain, or kUnknown
  std::vector<StateId> state_of_tail_;
  std::unordered_multimap<uint64_t, int32_t> state_index_, tail_index_;
  std::unordered_map<int32_t, Part> parts_;
  std::unordered_map<StateId, std::shared_ptr<const TokenMask>> masks_;
  size_t part_bytes_ = 0;
  size_t work_ = 0;  // of the mask that is made
  StateId initial_ = kDead;
  bool exhausted_ = false;

  // Scratch.
  QuickSet noted_calls_, noted_items_;
  std::vector<Item> raw_, list_, closed_;
  std::vector<PendingCall> calls_;
  std::vector<StateId> path_;
};

}  // namespace millrace::constrained_internal
