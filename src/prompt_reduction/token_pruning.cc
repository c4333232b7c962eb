#include "prompt_reduction/token_pruning.h"

#include <algorithm>

#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

constexpr std::string_view kSpaces = " \t\r\n\f\v";

struct PrunableWord {
  TextSpan span;         // with the space before it
  size_t begin = 0;      // without
  size_t tokens = 0;     // that end in it
  double surprise = -1;  // below every token's
};

std::vector<PrunableWord> WordsOfText(std::string_view text) {
  std::vector<PrunableWord> words;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = std::min(text.find_first_not_of(kSpaces, at), text.size());
    const size_t end = std::min(text.find_first_of(kSpaces, begin), text.size());
    if (begin == end) break;  // only spaces are left
    words.push_back({.span = {at, end}, .begin = begin});
    at = end;
  }
  return words;
}

}  // namespace

std::string PruneText(std::string_view text, std::span<const ScoredToken> tokens, double ratio,
                      const std::function<bool(std::string_view word)>& stays) {
  std::vector<PrunableWord> words = WordsOfText(text);
  size_t word = 0;
  for (const ScoredToken& token : tokens) {
    while (word < words.size() && words[word].span.end < token.end) ++word;
    if (word == words.size()) break;
    ++words[word].tokens;
    words[word].surprise = std::max(words[word].surprise, token.nats);
  }
  std::vector<size_t> order;  // of those that may go, the least surprising first
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string_view itself = text.substr(words[i].begin, words[i].span.end - words[i].begin);
    if (words[i].tokens > 0 && !stays(itself)) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return words[a].surprise < words[b].surprise; });
  std::vector<bool> dropped(words.size());
  const double most = ratio * static_cast<double>(tokens.size());
  auto left = static_cast<double>(tokens.size());
  for (const size_t i : order) {
    if (left <= most) break;
    dropped[i] = true;
    left -= static_cast<double>(words[i].tokens);
  }
  std::string pruned;
  for (size_t i = 0; i < words.size(); ++i) {
    if (!dropped[i])
      pruned += text.substr(words[i].span.begin, words[i].span.end - words[i].span.begin);
  }
  return pruned;
}

}  // namespace millrace
