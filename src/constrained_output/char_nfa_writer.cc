// Characters as bytes: UTF-8, and the spellings of JSON (RFC 8259, section 7).
#include <algorithm>
#include <string>
#include <utility>

#include "constrained_output/char_nfa.h"

namespace millrace::constrained_internal {
namespace {

// A set with more uses than this becomes a rule, which costs a state less per use, but keeps less
// of what follows it together.
constexpr size_t kMostCopies = 16;

constexpr std::pair<char, char> kShortEscapes[] = {
    {'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};

struct HexRange {
  uint32_t low, high;
  int digits;
};

void HexDigit(NfaBuilder& b, NfaBuilder::State from, NfaBuilder::State to, uint32_t low,
              uint32_t high) {
  if (low <= 9) {
    b.Symbols(from, to, static_cast<uint16_t>('0' + low),
              static_cast<uint16_t>('0' + std::min(high, 9u)));
  }
  if (high < 10) return;
  const uint32_t first = std::max(low, 10u) - 10, last = high - 10;
  b.Symbols(from, to, static_cast<uint16_t>('a' + first), static_cast<uint16_t>('a' + last));
  b.Symbols(from, to, static_cast<uint16_t>('A' + first), static_cast<uint16_t>('A' + last));
}

// Numbers of [low, high] in `digits` hexadecimal digits.
void Hex(NfaBuilder& b, NfaBuilder::State from, NfaBuilder::State to, HexRange range) {
  if (range.digits == 1) return HexDigit(b, from, to, range.low, range.high);
  const uint32_t unit = 1u << (4 * (range.digits - 1));
  const uint32_t first = range.low / unit, last = range.high / unit;
  const auto rest = [&](uint32_t digit_low, uint32_t digit_high, uint32_t low, uint32_t high) {
    const NfaBuilder::State next = b.NewState();
    HexDigit(b, from, next, digit_low, digit_high);
    Hex(b, next, to, {low, high, range.digits - 1});
  };
  if (first == last) return rest(first, first, range.low % unit, range.high % unit);
  const bool first_is_whole = range.low % unit == 0, last_is_whole = range.high % unit == unit - 1;
  if (!first_is_whole) rest(first, first, range.low % unit, unit - 1);
  if (!last_is_whole) rest(last, last, 0, range.high % unit);
  const uint32_t low = first + (first_is_whole ? 0 : 1), high = last - (last_is_whole ? 0 : 1);
  if (low <= high) rest(low, high, 0, unit - 1);
}

// \uXXXX of all members; past U+FFFF as a pair of surrogates.
void UnicodeEscapes(NfaBuilder& b, NfaBuilder::State from, NfaBuilder::State to,
                    const CharSet& set) {
  const NfaBuilder::State number = b.NewState();
  b.Literal(from, number, "\\u");
  for (const CharSet::Range& range : set.ranges()) {
    if (range.low <= 0xFFFF) Hex(b, number, to, {range.low, std::min(range.high, 0xFFFFu), 4});
    if (range.high <= 0xFFFF) continue;
    const uint32_t first = std::max(range.low, 0x10000u) - 0x10000, last = range.high - 0x10000;
    const auto pairs = [&](uint32_t lead_low, uint32_t lead_high, uint32_t low, uint32_t high) {
      const NfaBuilder::State lead = b.NewState(), second = b.NewState();
      Hex(b, number, lead, {0xD800 + lead_low, 0xD800 + lead_high, 4});
      b.Literal(lead, second, "\\u");
      Hex(b, second, to, {0xDC00 + low, 0xDC00 + high, 4});
    };
    const uint32_t lead_first = first >> 10, lead_last = last >> 10;
    if (lead_first == lead_last) {
      pairs(lead_first, lead_first, first & 0x3FF, last & 0x3FF);
      continue;
    }
    pairs(lead_first, lead_first, first & 0x3FF, 0x3FF);
    pairs(lead_last, lead_last, 0, last & 0x3FF);
    if (lead_first + 1 < lead_last) pairs(lead_first + 1, lead_last - 1, 0, 0x3FF);
  }
}

void JsonChars(NfaBuilder& b, NfaBuilder::State from, NfaBuilder::State to, const CharSet& set,
               Spelling spelling) {
  CharSet must_escape(0, 0x1F);
  must_escape.Add('"', '"');
  must_escape.Add('\\', '\\');
  b.Chars(from, to, set.Without(must_escape));
  CharSet numbered = set.And(CharSet(0, 0x1F));
  for (const auto& [character, letter] : kShortEscapes) {
    const auto code = static_cast<uint8_t>(character);
    if (!set.Contains(code)) continue;
    b.Literal(from, to, std::string{'\\', letter});
    numbered = numbered.Without(CharSet(code, code));
  }
  if (spelling == Spelling::kAnyJsonString) {
    if (set.Contains('/')) b.Literal(from, to, "\\/");
    numbered = set;
  }
  if (!numbered.empty()) UnicodeEscapes(b, from, to, numbered);
}

}  // namespace

CharNfaWriter::Key CharNfaWriter::KeyOf(const CharSet& set, Spelling spelling) {
  Key key{{}, spelling};
  for (const CharSet::Range& range : set.ranges()) key.first.emplace_back(range.low, range.high);
  return key;
}

void CharNfaWriter::WriteSet(const CharSet& set, Spelling spelling, NfaBuilder::State from,
                             NfaBuilder::State to) {
  if (spelling == Spelling::kText) return builder_.Chars(from, to, set);
  JsonChars(builder_, from, to, set, spelling);
}

void CharNfaWriter::Write(const CharNfa& nfa, Spelling spelling, NfaBuilder::State from,
                          NfaBuilder::State to) {
  std::map<Key, size_t> uses;
  for (const CharNfa::State& state : nfa.states) {
    for (const CharNfa::Edge& edge : state.edges) ++uses[KeyOf(edge.set, spelling)];
  }
  std::vector<NfaBuilder::State> states;
  for (const CharNfa::State& state : nfa.states) {
    states.push_back(builder_.NewState());
    if (state.accepts) builder_.Empty(states.back(), to);
  }
  builder_.Empty(from, states[0]);
  for (size_t i = 0; i < nfa.states.size() && builder_.within_budget(); ++i) {
    for (const CharNfa::Edge& edge : nfa.states[i].edges) {
      const NfaBuilder::State target = states[static_cast<size_t>(edge.target)];
      const Key key = KeyOf(edge.set, spelling);
      const auto& ranges = edge.set.ranges();
      const bool is_simple = ranges.size() == 1 && ranges[0].high < 0x80;
      if (is_simple || uses[key] <= kMostCopies) {
        WriteSet(edge.set, spelling, states[i], target);
        continue;
      }
      auto rule = rules_.find(key);
      if (rule == rules_.end()) {
        rule = rules_.emplace(key, builder_.NewRule("characters")).first;
        WriteSet(edge.set, spelling, builder_.start(rule->second), builder_.end(rule->second));
      }
      builder_.Call(states[i], target, rule->second);
    }
  }
}

}  // namespace millrace::constrained_internal
