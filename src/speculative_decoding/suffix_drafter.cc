#include "speculative_decoding/suffix_drafter.h"

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

// Tokens of the prompt's end that are kept before an output, for its beginning to be found.
constexpr size_t kLeadIn = 4;

// How many tokens before `position` of `text` equal those at the end of `tokens`.
size_t MatchLength(std::span<const TokenId> text, size_t position,
                   std::span<const TokenId> tokens) {
  const size_t most = std::min({position, tokens.size(), SuffixDrafter::kLongestMatch});
  size_t length = 0;
  while (length < most && text[position - 1 - length] == tokens[tokens.size() - 1 - length]) {
    ++length;
  }
  return length;
}

}  // namespace

void SuffixDrafter::Draft(std::span<DraftTask* const> tasks) {
  for (DraftTask* task : tasks) DraftOne(*task);
}

void SuffixDrafter::DraftOne(DraftTask& task) {
  task.draft.clear();
  task.confidence = 0;
  CollectVoters(task);
  double probability = 1.0;
  while (static_cast<int32_t>(task.draft.size()) < task.wanted && !voters_.empty()) {
    const size_t place = task.draft.size();
    const auto [token, share] = Vote(place);
    probability *= share;
    if (token.value < 0 || probability < kLeastProbability) break;
    if (place == 0) task.confidence = share < 0.6 ? 0 : share < 0.8 ? 1 : share < 0.9 ? 2 : 3;
    task.draft.push_back(token);
    std::erase_if(voters_, [&, winner = token](const Voter& voter) {
      return place >= voter.following.size() || voter.following[place] != winner;
    });
  }
}

void SuffixDrafter::AddVoter(std::span<const TokenId> text, size_t position,
                             std::span<const TokenId> tokens) {
  const auto length = static_cast<double>(MatchLength(text, position, tokens));
  voters_.push_back({text.subspan(position), length * length});
}

void SuffixDrafter::CollectVoters(const DraftTask& task) {
  voters_.clear();
  const std::span<const TokenId> tokens = task.tokens;
  if (tokens.size() < SuffixIndex::kKeyTokens) return;
  int32_t left = kMostVoters;
  const TokenId last = tokens.back(), before = tokens[tokens.size() - 2];
  for (size_t at = tokens.size() - 1; at >= SuffixIndex::kKeyTokens && left > 0; --at) {
    if (tokens[at - 1] != last || tokens[at - 2] != before) continue;
    AddVoter(tokens, at, tokens);
    --left;
  }
  const auto space = spaces_.find(task.space);
  if (space == spaces_.end()) return;
  space->second.last_used = ++use_;
  const SuffixIndex& outputs = space->second.outputs;
  outputs.ForEach(tokens, kMostVoters,
                  [&](size_t position) { AddVoter(outputs.text(), position, tokens); });
}

std::pair<TokenId, double> SuffixDrafter::Vote(size_t place) const {
  // Of those few, every voter counts the votes for its own token.
  constexpr double kEscape = 1.0;  // as much as a match of one token: something never seen before
  double total = kEscape, most = 0;
  TokenId winner{-1};
  for (const Voter& voter : voters_) {
    if (place >= voter.following.size()) continue;
    total += voter.weight;
    double votes = 0;
    for (const Voter& other : voters_) {
      const bool agrees =
          place < other.following.size() && other.following[place] == voter.following[place];
      if (agrees) votes += other.weight;
    }
    if (votes > most) {
      most = votes;
      winner = voter.following[place];
    }
  }
  return {winner, most / total};
}

void SuffixDrafter::Finish(RequestId, std::string_view space, std::span<const TokenId> tokens,
                           int32_t prompt_tokens) {
  const auto prompt = static_cast<size_t>(prompt_tokens);
  if (tokens.size() <= prompt) return;
  auto node = spaces_.find(space);
  if (node == spaces_.end()) {
    if (spaces_.size() >= kMaxSpaces) {
      spaces_.erase(std::min_element(
          spaces_.begin(), spaces_.end(),
          [](const auto& a, const auto& b) { return a.second.last_used < b.second.last_used; }));
    }
    node = spaces_.try_emplace(std::string(space)).first;
  }
  node->second.last_used = ++use_;
  node->second.outputs.Append(tokens.subspan(prompt - std::min(prompt, kLeadIn)));
}

}  // namespace millrace
