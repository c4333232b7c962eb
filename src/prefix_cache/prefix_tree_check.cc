// PrefixTree::IsConsistent: the invariants, checked by visiting every node.
#include <algorithm>

#include "prefix_cache/prefix_node.h"
#include "prefix_cache/prefix_tree.h"

namespace millrace {

// What can be seen at one node and its children.
bool PrefixTree::IsConsistent(const Node& node) const {
  const bool is_root = node.parent == nullptr;
  if (is_root != (node.count == 0) || is_root == static_cast<bool>(node.block)) return false;
  if (!is_root && !node.children.empty() && !node.whole()) return false;
  const bool waits = leaves_.contains(const_cast<Node*>(&node));
  if (waits != (!is_root && node.children.empty() && !node.pinned)) return false;
  const Node* previous = nullptr;
  for (const auto& child : node.children) {
    if (child->parent != &node || child->depth != (is_root ? 0 : node.depth + 1)) return false;
    if (child->pinned && !is_root && !node.pinned) return false;
    const auto tokens = child->tokens();
    if (tokens.empty()) return false;
    // In sorted order, what begins a sibling stands right before one that it begins.
    if (previous != nullptr) {
      const auto shorter = previous->tokens();
      if (!Order()(shorter, child) ||
          std::mismatch(shorter.begin(), shorter.end(), tokens.begin(), tokens.end()).first ==
              shorter.end()) {
        return false;
      }
    }
    previous = child.get();
  }
  return true;
}

bool PrefixTree::IsConsistent() const {
  int32_t nodes = 0, pinned = 0, leaves = 0, alone = 0;
  std::set<BlockId> blocks;
  std::vector<const Node*> work;
  for (const auto& [space, root] : roots_) {
    if (root->children.empty() || *root->space != space) return false;
    work.push_back(root.get());
  }
  while (!work.empty()) {
    const Node& node = *work.back();
    work.pop_back();
    if (!IsConsistent(node)) return false;
    for (const auto& child : node.children) work.push_back(child.get());
    if (node.parent == nullptr) continue;
    ++nodes;
    pinned += node.pinned;
    leaves += node.children.empty() && !node.pinned;
    alone += !node.pinned && node.block.IsUnique();
    if (!blocks.insert(node.block.id()).second) return false;
    // Whoever holds a block holds those before it.
    if (!node.block.IsUnique() && node.parent->block && node.parent->block.IsUnique()) return false;
  }
  return nodes == stats_.nodes && pinned == static_cast<int32_t>(pinned_.size()) &&
         leaves == static_cast<int32_t>(leaves_.size()) && alone == pool_->reclaimable();
}

}  // namespace millrace
