#include "speculative_decoding/lookup_drafter.h"

#include <algorithm>

namespace millrace {
namespace {

struct Match {
  size_t next = 0;  // the position after the earlier run
  size_t length = 0;
};

// How many tokens before `end` equal those before the sequence's end.
size_t CommonLength(std::span<const TokenId> tokens, size_t end) {
  constexpr auto kMost = static_cast<size_t>(LookupDrafter::kLongestMatch);
  size_t length = 0;
  while (length < std::min(end, kMost) &&
         tokens[end - 1 - length] == tokens[tokens.size() - 1 - length]) {
    ++length;
  }
  return length;
}

Match LongestMatch(std::span<const TokenId> tokens) {
  Match best;
  const TokenId last = tokens.back();
  for (size_t end = tokens.size() - 1; end > 0; --end) {
    if (tokens[end - 1] != last) continue;
    const size_t length = CommonLength(tokens, end);
    if (length > best.length) best = {.next = end, .length = length};
    if (length >= static_cast<size_t>(LookupDrafter::kLongestMatch)) break;
  }
  return best;
}

}  // namespace

// Where the earlier run ends so near the end that too few tokens follow, what follows is the draft
// itself: a text that repeats goes on repeating.
void LookupDrafter::Draft(std::span<DraftTask* const> tasks) {
  for (DraftTask* task : tasks) {
    task->draft.clear();
    const Match match = LongestMatch(task->tokens);
    if (match.length < static_cast<size_t>(kShortestMatch)) continue;
    task->confidence = match.length < 3 ? 0 : match.length < 5 ? 1 : match.length < 8 ? 2 : 3;
    for (size_t i = match.next; task->draft.size() < static_cast<size_t>(task->wanted); ++i) {
      const size_t known = task->tokens.size();
      task->draft.push_back(i < known ? task->tokens[i] : task->draft[i - known]);
    }
  }
}

}  // namespace millrace
