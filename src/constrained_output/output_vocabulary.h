// OutputVocabulary: the tokens of a model as constrained output sees them: bytes.
//
// Invariant: does not change after construction; threads share it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/id.h"
#include "constrained_output/token_trie.h"

namespace millrace {

class OutputVocabulary {
 public:
  struct Token {
    std::string bytes;     // that it adds to the text; empty: it is never allowed
    bool control = false;  // matches only where a grammar asks for a control token of this text
  };

  // tokens[i] is token i. `end_tokens` end an answer, and nothing else: they are allowed where the
  // text is whole.
  OutputVocabulary(std::vector<Token> tokens, std::vector<TokenId> end_tokens);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  const Token& token(TokenId id) const { return tokens_[static_cast<size_t>(id.value)]; }
  bool IsEnd(TokenId id) const;
  const std::vector<TokenId>& end_tokens() const { return end_tokens_; }
  const std::vector<TokenId>& control_tokens() const { return control_tokens_; }  // but end tokens
  const constrained_internal::TokenTrie& trie() const { return trie_; }

 private:
  std::vector<Token> tokens_;
  std::vector<TokenId> end_tokens_, control_tokens_;  // sorted
  constrained_internal::TokenTrie trie_;
};

}  // namespace millrace
