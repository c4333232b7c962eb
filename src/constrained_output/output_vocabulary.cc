#include "constrained_output/output_vocabulary.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {
namespace {

constrained_internal::TokenTrie TrieOf(const std::vector<OutputVocabulary::Token>& tokens,
                                       const std::vector<TokenId>& end_tokens) {
  std::vector<std::pair<std::string, int32_t>> texts;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const TokenId id(static_cast<int32_t>(i));
    const bool ends = std::binary_search(end_tokens.begin(), end_tokens.end(), id);
    if (!ends && !tokens[i].control) texts.emplace_back(tokens[i].bytes, id.value);
  }
  return constrained_internal::TokenTrie(std::move(texts));
}

std::vector<TokenId> Sorted(std::vector<TokenId> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

OutputVocabulary::OutputVocabulary(std::vector<Token> tokens, std::vector<TokenId> end_tokens)
    : tokens_(std::move(tokens)),
      end_tokens_(Sorted(std::move(end_tokens))),
      trie_(TrieOf(tokens_, end_tokens_)) {
  for (const TokenId id : end_tokens_) CHECK(id.value >= 0 && id.value < size());
  for (int32_t i = 0; i < size(); ++i) {
    const TokenId id(i);
    if (token(id).control && !token(id).bytes.empty() && !IsEnd(id)) control_tokens_.push_back(id);
  }
}

bool OutputVocabulary::IsEnd(TokenId id) const {
  return std::binary_search(end_tokens_.begin(), end_tokens_.end(), id);
}

}  // namespace millrace
