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

// Bytes of one place in a UTF-8 character, by the character's form.
struct ByteRange {
  uint8_t low, high;
};
struct CharacterForm {
  int32_t bytes;
  ByteRange range[4];
};
// Plain characters: what strings of JSON hold as it is: all of UTF-8 (Unicode 15, table 3-7) but
// control characters, quotation mark and backslash.
inline constexpr CharacterForm kPlainCharacters[] = {
    {1, {{0x20, 0x21}}},
    {1, {{0x23, 0x5B}}},
    {1, {{0x5D, 0x7E}}},
    {2, {{0xC2, 0xDF}, {0x80, 0xBF}}},
    {3, {{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}}},
    {3, {{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {3, {{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}}},
    {3, {{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {4, {{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {4, {{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {4, {{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}},
};

class TokenTrie {
 public:
  struct Node {
    uint8_t byte;
    uint8_t has_tokens : 1;
    // Where a character begins here and all tokens from here on are whole plain characters (below):
    // how many the longest has, counted from here. Else 0.
    uint8_t plain_characters : 7;
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
  // And those of its descendants.
  std::span<const int32_t> TokensFrom(size_t node) const {
    const auto end = static_cast<size_t>(nodes_[node].end);
    return std::span(tokens_).subspan(first_token_[node], first_token_[end] - first_token_[node]);
  }
  size_t max_depth() const { return max_depth_; }  // bytes of the longest token

 private:
  void FindPlain();

  std::vector<Node> nodes_;
  std::vector<uint32_t> first_token_;  // of each node, and the number of tokens
  std::vector<int32_t> tokens_;
  size_t max_depth_ = 0;
};

}  // namespace millrace::constrained_internal
