// The tree as others see it: the names of beginnings, for what outlives it, and the map of blocks.
#include <algorithm>

#include "prefix_cache/prefix_node.h"
#include "prefix_cache/prefix_tree.h"

namespace millrace {

static_assert(sizeof(TokenId) == 4);

Digest ChainOf(std::string_view space) {
  return Sha256().AddAll(std::span<const char>(space)).Finish();
}

Digest ChainOf(const Digest& before, std::span<const TokenId> block) {
  return Sha256().AddAll(std::span<const uint8_t>(before)).AddAll(block).Finish();
}

// Every node keeps its own, so that a chain is hashed once.
Digest PrefixTree::ChainOfNode(Node& node) {
  std::vector<Node*> unnamed;
  Node* named = &node;
  for (; !named->chain && named->parent != nullptr; named = named->parent) unnamed.push_back(named);
  if (!named->chain) named->chain = ChainOf(*named->space);
  for (; !unnamed.empty(); unnamed.pop_back()) {
    unnamed.back()->chain = ChainOf(*unnamed.back()->parent->chain, unnamed.back()->tokens());
  }
  return *node.chain;
}

void PrefixTree::ForEachBlock(const std::function<void(const KnownBlock&)>& visit) {
  std::vector<Node*> nodes;  // parents before children
  for (const auto& [space, root] : roots_) nodes.push_back(root.get());
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const auto& child : nodes[i]->children) nodes.push_back(child.get());
  }
  for (; !nodes.empty(); nodes.pop_back()) {
    Node& node = *nodes.back();
    if (node.whole()) visit({node.block.id(), node.tokens(), ChainOfNode(node)});
  }
}

void PrefixTree::Mark(KvMap& map) const {
  std::vector<const Node*> nodes;
  for (const auto& [space, root] : roots_) nodes.push_back(root.get());
  while (!nodes.empty()) {
    const Node& node = *nodes.back();
    nodes.pop_back();
    for (const auto& child : node.children) nodes.push_back(child.get());
    if (!node.block) continue;
    KvBlockUse& use = map.blocks[static_cast<size_t>(node.block.id().value)];
    use.cached = true;
    use.pinned = node.pinned;
    use.filled = std::max(use.filled, node.count);
  }
}

}  // namespace millrace
