#include "tokenizer/special_token_finder.h"

#include <algorithm>

namespace millrace::tokenizer_internal {
namespace {

uint64_t Edge(uint32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
}

}  // namespace

bool SpecialTokenFinder::Add(std::string_view text, TokenId id, Found found) {
  if (text.empty() || text.size() > kLongestText) return false;
  uint32_t node = 0;
  for (char byte : text) {
    const auto [edge, added] =
        children_.try_emplace(Edge(node, byte), static_cast<uint32_t>(nodes_.size()));
    if (added) nodes_.emplace_back();
    node = edge->second;
  }
  nodes_[node] = {id, found};
  const auto first = static_cast<unsigned char>(text[0]);
  first_bytes_.set(first);
  if (found == Found::kAlways) first_bytes_always_.set(first);
  longest_ = std::max(longest_, text.size());
  return true;
}

// The root is no node's child, so 0 says that there is none.
uint32_t SpecialTokenFinder::Child(uint32_t node, char byte) const {
  const auto edge = children_.find(Edge(node, byte));
  return edge == children_.end() ? 0 : edge->second;
}

bool SpecialTokenFinder::MayBegin(char byte, SpecialTokens mode) const {
  const auto index = static_cast<unsigned char>(byte);
  return mode == SpecialTokens::kParse ? first_bytes_[index] : first_bytes_always_[index];
}

std::vector<bool> SpecialTokenFinder::LengthsIn(std::string_view text, SpecialTokens mode) const {
  std::vector<bool> lengths(longest_ + 1);
  for (size_t pos = 0; pos < text.size(); ++pos) {
    if (!MayBegin(text[pos], mode)) continue;
    uint32_t node = 0;
    for (size_t i = pos; i < text.size(); ++i) {
      node = Child(node, text[i]);
      if (node == 0) break;
      if (IsWanted(nodes_[node], mode)) lengths[i + 1 - pos] = true;
    }
  }
  return lengths;
}

std::optional<TokenId> SpecialTokenFinder::TokenAt(std::string_view text, size_t pos, size_t length,
                                                   SpecialTokens mode) const {
  if (!MayBegin(text[pos], mode)) return std::nullopt;
  uint32_t node = 0;
  for (size_t i = pos; i < pos + length; ++i) {
    node = Child(node, text[i]);
    if (node == 0) return std::nullopt;
  }
  return IsWanted(nodes_[node], mode) ? nodes_[node].token : std::nullopt;
}

void SpecialTokenFinder::CutOut(std::string_view text, size_t length, SpecialTokens mode,
                                std::vector<Fragment>& out) const {
  size_t begin = 0;
  for (size_t pos = 0; pos + length <= text.size();) {
    const std::optional<TokenId> token = TokenAt(text, pos, length, mode);
    if (!token) {
      ++pos;
      continue;
    }
    if (pos > begin) out.push_back({text.substr(begin, pos - begin), std::nullopt});
    out.push_back({text.substr(pos, length), token});
    pos += length;
    begin = pos;
  }
  if (begin < text.size()) out.push_back({text.substr(begin), std::nullopt});
}

std::vector<Fragment> SpecialTokenFinder::Partition(std::string_view text,
                                                    SpecialTokens mode) const {
  std::vector<Fragment> fragments;
  if (!text.empty()) fragments.push_back({text, std::nullopt});
  const std::vector<bool> lengths = LengthsIn(text, mode);
  for (size_t length = longest_; length > 0; --length) {
    if (!lengths[length]) continue;
    std::vector<Fragment> finer;
    for (const Fragment& fragment : fragments) {
      if (fragment.token) {
        finer.push_back(fragment);
      } else {
        CutOut(fragment.text, length, mode, finer);
      }
    }
    fragments = std::move(finer);
  }
  return fragments;
}

}  // namespace millrace::tokenizer_internal
