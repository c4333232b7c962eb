#include "constrained_output/char_nfa.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace millrace::constrained_internal {
namespace {

Error TooManyStates() {
  return {fmt::format("The pattern is too large: it needs more than {} states; use shorter bounds "
                      "of repetition or fewer alternatives.",
                      CharNfa::kMaxStates),
          ErrorKind::kUnsupported};
}

// Characters as ranges that no edge of the states tells apart.
std::vector<uint32_t> Borders(const CharNfa& nfa, const std::vector<int32_t>& states) {
  std::vector<uint32_t> borders = {0};
  for (const int32_t state : states) {
    for (const CharNfa::Edge& edge : nfa.states[At(state)].edges) {
      for (const CharSet::Range& range : edge.set.ranges()) {
        borders.push_back(range.low);
        if (range.high < kMaxCodePoint) borders.push_back(range.high + 1);
      }
    }
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  return borders;
}

std::vector<int32_t> StatesBehind(const CharNfa& nfa, const std::vector<int32_t>& from,
                                  uint32_t character) {
  std::vector<int32_t> to;
  for (const int32_t state : from) {
    for (const CharNfa::Edge& edge : nfa.states[At(state)].edges) {
      if (edge.set.Contains(character)) to.push_back(edge.target);
    }
  }
  std::sort(to.begin(), to.end());
  to.erase(std::unique(to.begin(), to.end()), to.end());
  return to;
}

// The subset construction (Rabin and Scott 1959), with the set of no states as a state.
Result<CharNfa> Determinise(const CharNfa& nfa) {
  constexpr size_t kMostSubsets = 2000;
  CharNfa result;
  std::map<std::vector<int32_t>, int32_t> known;
  std::vector<std::vector<int32_t>> subsets;
  const auto intern = [&](std::vector<int32_t> subset) {
    const auto [at, is_new] = known.emplace(subset, static_cast<int32_t>(subsets.size()));
    if (is_new) {
      CharNfa::State state;
      for (const int32_t member : subset) state.accepts |= nfa.states[At(member)].accepts;
      result.states.push_back(std::move(state));
      subsets.push_back(std::move(subset));
    }
    return at->second;
  };
  intern({0});
  size_t edges = 0;
  for (size_t i = 0; i < subsets.size(); ++i) {
    const std::vector<uint32_t> borders = Borders(nfa, subsets[i]);
    std::map<int32_t, CharSet> targets;
    for (size_t b = 0; b < borders.size(); ++b) {
      const uint32_t low = borders[b];
      const uint32_t high = b + 1 < borders.size() ? borders[b + 1] - 1 : kMaxCodePoint;
      CharSet range(low, high);
      if (range.empty()) continue;
      const int32_t target = intern(StatesBehind(nfa, subsets[i], range.ranges()[0].low));
      targets[target].Add(range);
    }
    edges += borders.size();
    for (auto& [target, set] : targets) {
      result.states[i].edges.push_back({std::move(set), target});
    }
    if (subsets.size() > kMostSubsets || edges > CharNfa::kMaxEdges) return TooManyStates();
  }
  return result;
}

}  // namespace

CharNfa CharNfa::AnyText() {
  CharNfa nfa;
  nfa.states.push_back({.edges = {{CharSet::All(), 0}}, .accepts = true});
  return nfa;
}

CharNfa CharNfa::Length(int64_t least, std::optional<int64_t> most) {
  CharNfa nfa;
  const int64_t last = most.value_or(least);
  for (int64_t length = 0; length <= last; ++length) {
    State state{.edges = {}, .accepts = length >= least};
    if (length < last) state.edges.push_back({CharSet::All(), static_cast<int32_t>(length + 1)});
    if (length == last && !most) {
      state.edges.push_back({CharSet::All(), static_cast<int32_t>(length)});
    }
    nfa.states.push_back(std::move(state));
  }
  return nfa;
}

Result<CharNfa> Intersect(const CharNfa& a, const CharNfa& b) {
  CharNfa both;
  std::map<std::pair<int32_t, int32_t>, int32_t> known;
  std::vector<std::pair<int32_t, int32_t>> pairs;
  const auto intern = [&](int32_t x, int32_t y) {
    const auto [at, is_new] = known.emplace(std::pair(x, y), static_cast<int32_t>(pairs.size()));
    if (is_new) {
      pairs.emplace_back(x, y);
      both.states.push_back(
          {.edges = {}, .accepts = a.states[At(x)].accepts && b.states[At(y)].accepts});
    }
    return at->second;
  };
  intern(0, 0);
  size_t edges = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [x, y] = pairs[i];
    for (const CharNfa::Edge& left : a.states[At(x)].edges) {
      for (const CharNfa::Edge& right : b.states[At(y)].edges) {
        CharSet set = left.set.And(right.set);
        if (set.empty()) continue;
        const int32_t target = intern(left.target, right.target);
        both.states[i].edges.push_back({std::move(set), target});
        ++edges;
      }
    }
    if (pairs.size() > CharNfa::kMaxStates || edges > CharNfa::kMaxEdges) return TooManyStates();
  }
  return both;
}

Result<CharNfa> Complement(const CharNfa& nfa) {
  ASSIGN_OR_RETURN(CharNfa result, Determinise(nfa));
  for (CharNfa::State& state : result.states) state.accepts = !state.accepts;
  return result;
}

bool Matches(const CharNfa& nfa, std::string_view utf8) {
  std::vector<int32_t> states = {0};
  for (size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<uint8_t>(utf8[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t character = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (size_t k = 1; k < length && i + k < utf8.size(); ++k) {
      character = character << 6 | (static_cast<uint8_t>(utf8[i + k]) & 0x3Fu);
    }
    states = StatesBehind(nfa, states, character);
    i += length;
  }
  return std::any_of(states.begin(), states.end(),
                     [&](int32_t state) { return nfa.states[At(state)].accepts; });
}

bool MatchesNothing(const CharNfa& nfa) {
  std::vector<char> seen(nfa.states.size(), 0);
  std::vector<int32_t> waiting = {0};
  seen[0] = 1;
  while (!waiting.empty()) {
    const CharNfa::State& state = nfa.states[At(waiting.back())];
    waiting.pop_back();
    if (state.accepts) return false;
    for (const CharNfa::Edge& edge : state.edges) {
      if (!std::exchange(seen[At(edge.target)], 1)) waiting.push_back(edge.target);
    }
  }
  return true;
}

bool MatchesEverything(const CharNfa& nfa) {
  const auto rest = Complement(nfa);
  return rest.ok() && MatchesNothing(*rest);
}

}  // namespace millrace::constrained_internal
