// SpecialTokenFinder: cuts special tokens out of a text.
//
// The longest token texts are cut out first, each from left to right in what is left of the text;
// so the outcome does not depend on how many tokens there are, and equals that of searching for one
// token after the other. Takes one step through a trie per byte, and one more pass for each length
// of token that occurs in the text.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "tokenizer/tokenizer.h"

namespace millrace::tokenizer_internal {

// A special token, or text between them.
struct Fragment {
  std::string_view text;
  std::optional<TokenId> token;
};

class SpecialTokenFinder {
 public:
  SpecialTokenFinder() : nodes_(1) {}

  // Texts longer than this are no special tokens that a text could hold; Add refuses them.
  static constexpr size_t kLongestText = 256;

  // kAlways: found in every text, also where it stands as a user wrote it ("user-defined" tokens).
  enum class Found { kAlways, kWhenParsing };
  // False, and nothing is added, if `text` is empty or too long.
  bool Add(std::string_view text, TokenId id, Found found);

  // The fragments view `text`; none is empty.
  std::vector<Fragment> Partition(std::string_view text, SpecialTokens mode) const;

 private:
  struct Node {
    std::optional<TokenId> token;  // whose text ends here
    Found found = Found::kWhenParsing;
  };
  std::vector<bool> LengthsIn(std::string_view text, SpecialTokens mode) const;
  std::optional<TokenId> TokenAt(std::string_view text, size_t pos, size_t length,
                                 SpecialTokens mode) const;
  void CutOut(std::string_view text, size_t length, SpecialTokens mode,
              std::vector<Fragment>& out) const;
  uint32_t Child(uint32_t node, char byte) const;
  bool MayBegin(char byte, SpecialTokens mode) const;
  bool IsWanted(const Node& node, SpecialTokens mode) const {
    return node.token && (mode == SpecialTokens::kParse || node.found == Found::kAlways);
  }

  std::vector<Node> nodes_;                          // a trie; 0 is its root
  std::unordered_map<uint64_t, uint32_t> children_;  // by node and byte
  std::bitset<256> first_bytes_;
  std::bitset<256> first_bytes_always_;
  size_t longest_ = 0;
};

}  // namespace millrace::tokenizer_internal
