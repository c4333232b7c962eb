// TokenTrie: the tokens of a vocabulary by their bytes, each common beginning once.
//
// Invariant: nodes stand in preorder, so that a walk that leaves out a node's descendants goes on
// at its `end`. Tokens without bytes are not in it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace millrace::constrained_internal {

class TokenTrie {
 public:
  struct Node {
    uint8_t byte;
    uint8_t has_tokens;
    uint16_t depth;  // 0: the first byte
    int32_t end;     // the node behind the last descendant
  };

  // Pairs of bytes and token id. Tokens of more than 65,535 bytes are left out.
  explicit TokenTrie(std::vector<std::pair<std::string, int32_t>> tokens);

  std::span<const Node> nodes() const { return nodes_; }
  // The tokens whose bytes end at the node.
  std::span<const int32_t> TokensAt(size_t node) const {
    return std::span(tokens_).subspan(first_token_[node],
                                      first_token_[node + 1] - first_token_[node]);
  }
  size_t max_depth() const { return max_depth_; }  // bytes of the longest token

 private:
  std::vector<Node> nodes_;
  std::vector<uint32_t> first_token_;  // of each node, and the number of tokens
  std::vector<int32_t> tokens_;
  size_t max_depth_ = 0;
};

}  // namespace millrace::constrained_internal
