// CharNfa: a regular language over characters (Unicode scalar values), and how a text or the inside
// of a JSON string that spells it looks in bytes.
//
// Invariant: no empty edges; every state is reached from state 0, where texts begin.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "constrained_output/char_set.h"
#include "constrained_output/nfa.h"

namespace millrace::constrained_internal {

struct CharNfa {
  static constexpr size_t kMaxStates = 30'000;
  static constexpr size_t kMaxEdges = 200'000;

  struct Edge {
    CharSet set;
    int32_t target;
  };
  struct State {
    std::vector<Edge> edges;
    bool accepts = false;
  };
  std::vector<State> states;

  static CharNfa AnyText();
  // Texts of `least` to `most` characters; `most` at most kMaxStates - 2.
  static CharNfa Length(int64_t least, std::optional<int64_t> most);
};

// The texts in both. Error: too many states.
Result<CharNfa> Intersect(const CharNfa& a, const CharNfa& b);
// The texts that are not in it. Error: too many states.
Result<CharNfa> Complement(const CharNfa& nfa);
bool Matches(const CharNfa& nfa, std::string_view utf8);
bool MatchesNothing(const CharNfa& nfa);
// Whether all texts are in it; false where that takes too many states to say.
bool MatchesEverything(const CharNfa& nfa);

// How characters become bytes.
enum class Spelling {
  kText,        // UTF-8
  kJsonString,  // of the ways JSON has: raw where allowed, else the short escape or \u00xx
  // And every other way: \uXXXX for any character, as a pair for those past U+FFFF; \/.
  kAnyJsonString,
};

// Writes CharNfas into an Nfa. Sets of characters that occur often become rules of their own.
class CharNfaWriter {
 public:
  explicit CharNfaWriter(NfaBuilder& builder) : builder_(builder) {}
  void Write(const CharNfa& nfa, Spelling spelling, NfaBuilder::State from, NfaBuilder::State to);

 private:
  using Key = std::pair<std::vector<std::pair<uint32_t, uint32_t>>, Spelling>;
  static Key KeyOf(const CharSet& set, Spelling spelling);
  void WriteSet(const CharSet& set, Spelling spelling, NfaBuilder::State from,
                NfaBuilder::State to);

  NfaBuilder& builder_;
  std::map<Key, NfaBuilder::Rule> rules_;
};

}  // namespace millrace::constrained_internal
