// PrefixTree::Node, for the files that implement PrefixTree. Internal to prefix_cache/.
#pragma once

#include <optional>

#include "prefix_cache/prefix_tree.h"

namespace millrace {

struct PrefixTree::Node {
  std::array<TokenId, kBlockTokens> ids{};
  int32_t count = 0;       // of ids; 0 in a root
  int32_t depth = 0;       // blocks above
  bool pinned = false;     // then all ancestors are, too
  int64_t used = 0;        // a serial number: among equal values the one used longer ago goes
  double value = 0;        // see Evict
  Node* parent = nullptr;  // null: a root
  const std::string* space = nullptr;  // of a root
  BlockRef block;                      // none in a root
  std::optional<Digest> chain;         // once it was asked for
  std::set<std::unique_ptr<Node>, Order> children;

  std::span<const TokenId> tokens() const {
    return std::span(ids).first(static_cast<size_t>(count));
  }
  bool whole() const { return count == kBlockTokens; }
};

}  // namespace millrace
