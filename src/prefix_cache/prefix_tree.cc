#include "prefix_cache/prefix_tree.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "prefix_cache/prefix_node.h"

namespace millrace {
namespace {

using Tokens = std::span<const TokenId>;

bool Less(Tokens a, Tokens b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

int32_t CommonPrefix(Tokens a, Tokens b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<int32_t>(end - a.begin());
}

bool BeginsWith(Tokens text, Tokens beginning) {
  return CommonPrefix(text, beginning) == static_cast<int32_t>(beginning.size());
}

// The tokens of block `index`: fewer than kBlockTokens where `tokens` ends.
Tokens BlockOf(Tokens tokens, int32_t index) {
  const Tokens rest = tokens.subspan(static_cast<size_t>(index) * kBlockTokens);
  return rest.first(std::min<size_t>(rest.size(), kBlockTokens));
}

}  // namespace

bool PrefixTree::Order::operator()(const std::unique_ptr<Node>& a,
                                   const std::unique_ptr<Node>& b) const {
  return Less(a->tokens(), b->tokens());
}
bool PrefixTree::Order::operator()(const std::unique_ptr<Node>& a, Tokens b) const {
  return Less(a->tokens(), b);
}
bool PrefixTree::Order::operator()(Tokens a, const std::unique_ptr<Node>& b) const {
  return Less(a, b->tokens());
}

bool PrefixTree::LeastValue::operator()(const Node* a, const Node* b) const {
  return a->value != b->value ? a->value < b->value : a->used < b->used;
}

PrefixTree::PrefixTree(BlockPool& pool, const PrefixTreeConfig& config)
    : pool_(&pool), config_(config) {
  CHECK(config.max_pinned >= 0 && config.position_cost >= 0);
}

// Level by level: a chain may be too long to be destroyed by recursion.
PrefixTree::~PrefixTree() {
  std::vector<std::unique_ptr<Node>> nodes;
  for (auto& [space, root] : roots_) nodes.push_back(std::move(root));
  while (!nodes.empty()) {
    const std::unique_ptr<Node> node = std::move(nodes.back());
    nodes.pop_back();
    if (node->block && !node->pinned) node->block.SetReclaimable(false);
    while (!node->children.empty()) {
      nodes.push_back(std::move(node->children.extract(node->children.begin()).value()));
    }
  }
}

PrefixTree::Path PrefixTree::Walk(std::string_view space, Tokens tokens) const {
  Path path;
  const auto root = roots_.find(space);
  if (root == roots_.end()) return path;
  path.last = root->second.get();
  for (;;) {
    const Tokens wanted = BlockOf(tokens, path.blocks);
    if (wanted.empty()) return path;
    const auto& children = path.last->children;
    const auto next = children.lower_bound(wanted);
    if (next != children.end() && (*next)->whole() && BeginsWith(wanted, (*next)->tokens())) {
      path.last = next->get();
      ++path.blocks;
      continue;
    }
    // Of sorted sequences, the one that shares the longest beginning stands next to `wanted`.
    const auto consider = [&](Node* node) {
      const int32_t common = CommonPrefix(node->tokens(), wanted);
      if (common > path.partial_tokens) {
        path.partial = node;
        path.partial_tokens = common;
      }
    };
    if (next != children.end()) consider(next->get());
    if (next != children.begin()) consider(std::prev(next)->get());
    return path;
  }
}

PrefixTree::Match PrefixTree::Find(std::string_view space, Tokens tokens) const {
  const Path path = Walk(space, tokens);
  Match match;
  match.blocks.resize(static_cast<size_t>(path.blocks));
  Node* node = path.last;
  for (size_t i = match.blocks.size(); i > 0; node = node->parent) {
    match.blocks[--i] = node->block.Share();
  }
  if (path.blocks > 0) match.cursor = {path.last, path.blocks};
  if (path.partial != nullptr) {
    match.partial = path.partial->block.Share();
    match.partial_tokens = path.partial_tokens;
    match.partial_node = path.partial;
  }
  return match;
}

int32_t PrefixTree::Count(std::string_view space, Tokens tokens) const {
  const Path path = Walk(space, tokens);
  return path.blocks * kBlockTokens + path.partial_tokens;
}

void PrefixTree::Touch(const Match& match) {
  Touch(match.cursor);
  if (match.partial_node != nullptr) Use(*match.partial_node);
}

void PrefixTree::Touch(const Cursor& cursor) {
  if (cursor.node == nullptr) return;
  for (Node* node = cursor.node; node->parent != nullptr; node = node->parent) Use(*node);
}

void PrefixTree::Extend(Cursor& cursor, std::string_view space, Tokens computed,
                        std::span<BlockRef> blocks) {
  CHECK(BlocksFor(static_cast<int32_t>(computed.size())) <= static_cast<int32_t>(blocks.size()));
  if (BlockOf(computed, cursor.blocks).empty()) return;
  Node* node = cursor.node;
  if (node == nullptr) {
    const auto [root, is_new] = roots_.try_emplace(std::string(space));
    if (is_new) {
      root->second = std::make_unique<Node>();
      root->second->space = &root->first;
    }
    node = root->second.get();
  }
  for (Tokens next = BlockOf(computed, cursor.blocks); !next.empty();
       next = BlockOf(computed, cursor.blocks)) {
    Node& placed = Place(*node, next, blocks[static_cast<size_t>(cursor.blocks)]);
    if (next.size() < kBlockTokens) return;
    node = &placed;
    cursor = {node, cursor.blocks + 1};
  }
}

// The child of `parent` that holds `tokens`; it may hold more. A whole block that is there already
// takes the place of `block`.
PrefixTree::Node& PrefixTree::Place(Node& parent, Tokens tokens, BlockRef& block) {
  const auto at = parent.children.lower_bound(tokens);
  if (at != parent.children.end() && BeginsWith((*at)->tokens(), tokens)) {
    Node& there = **at;
    Use(there);
    if (tokens.size() == kBlockTokens && there.block.id() != block.id()) {
      block = there.block.Share();
      ++stats_.shared;
    }
    return there;
  }
  Node* shorter = nullptr;
  if (at != parent.children.begin()) {
    Node& before = **std::prev(at);
    if (BeginsWith(tokens, before.tokens())) shorter = &before;
  }
  if (shorter == nullptr) return Append(parent, tokens, block);
  LetGo(*shorter);  // it may be the same block, filled further
  Node& longer = Append(parent, tokens, block);
  Drop(*shorter);
  return longer;
}

PrefixTree::Node& PrefixTree::Append(Node& parent, Tokens tokens, const BlockRef& block) {
  auto owned = std::make_unique<Node>();
  Node& node = *owned;
  std::copy(tokens.begin(), tokens.end(), node.ids.begin());
  node.count = static_cast<int32_t>(tokens.size());
  node.depth = parent.parent == nullptr ? 0 : parent.depth + 1;
  node.parent = &parent;
  node.block = block.Share();
  node.block.SetReclaimable(true);
  leaves_.erase(&parent);
  parent.children.insert(std::move(owned));
  Use(node);
  leaves_.insert(&node);
  ++stats_.nodes;
  return node;
}

void PrefixTree::LetGo(Node& node) {
  node.block.SetReclaimable(false);
  node.block = BlockRef();
}

void PrefixTree::Drop(Node& leaf) {
  CHECK(leaf.children.empty() && !leaf.pinned);
  if (leaf.block) LetGo(leaf);
  leaves_.erase(&leaf);
  --stats_.nodes;
  Node& parent = *leaf.parent;
  parent.children.erase(parent.children.find(leaf.tokens()));
  if (!parent.children.empty()) return;
  if (parent.parent == nullptr) {
    roots_.erase(*parent.space);
  } else if (!parent.pinned) {
    leaves_.insert(&parent);
  }
}

void PrefixTree::Use(Node& node) {
  const bool is_leaf = leaves_.erase(&node) > 0;
  node.value = floor_ + CostOf(node);
  node.used = ++uses_;
  if (is_leaf) leaves_.insert(&node);
}

double PrefixTree::CostOf(const Node& node) const {
  const double middle = node.depth * kBlockTokens + 0.5 * node.count;
  return node.count * (1.0 + middle * config_.position_cost);
}

int32_t PrefixTree::Evict(int32_t count) {
  int32_t freed = 0;
  for (auto next = leaves_.begin(); freed < count && next != leaves_.end();) {
    Node& leaf = **next;
    if (!leaf.block.IsUnique()) {
      ++next;
      continue;
    }
    Node* parent = leaf.parent;
    floor_ = std::max(floor_, leaf.value);
    const bool parent_follows =
        parent->parent != nullptr && parent->children.size() == 1 && !parent->pinned;
    next = std::next(next);
    if (on_evict_ && leaf.whole()) on_evict_({leaf.block.id(), leaf.tokens(), ChainOfNode(leaf)});
    Drop(leaf);
    ++freed;
    // The parent is a leaf now, and may stand before the ones still to come.
    if (parent_follows && (next == leaves_.end() || LeastValue()(parent, *next))) {
      next = leaves_.find(parent);
    }
  }
  stats_.evicted += freed;
  return freed;
}

int32_t PrefixTree::Pin(std::string_view space, Tokens tokens) {
  const Path path = Walk(space, tokens);
  std::vector<Node*> nodes;  // from the root down, so that what is pinned is always a beginning
  for (Node* node = path.last; node != nullptr && node->parent != nullptr; node = node->parent) {
    nodes.push_back(node);
  }
  int32_t pinned = 0;
  for (; !nodes.empty(); nodes.pop_back(), ++pinned) {
    Node& node = *nodes.back();
    if (node.pinned) continue;
    if (static_cast<int32_t>(pinned_.size()) >= config_.max_pinned) break;
    SetPinned(node, true);
  }
  return pinned;
}

void PrefixTree::Unpin(std::string_view space, Tokens tokens) {
  const Path path = Walk(space, tokens);
  for (Node* node = path.last; node != nullptr && node->parent != nullptr; node = node->parent) {
    const bool needed = std::any_of(node->children.begin(), node->children.end(),
                                    [](const auto& child) { return child->pinned; });
    if (needed) return;
    if (node->pinned) SetPinned(*node, false);
  }
}

void PrefixTree::UnpinAll() {
  while (!pinned_.empty()) SetPinned(**pinned_.begin(), false);
}

void PrefixTree::SetPinned(Node& node, bool pinned) {
  node.pinned = pinned;
  node.block.SetReclaimable(!pinned);
  if (pinned) {
    pinned_.insert(&node);
    leaves_.erase(&node);
  } else {
    pinned_.erase(&node);
    if (node.children.empty()) leaves_.insert(&node);
  }
}

PrefixTreeStats PrefixTree::stats() const {
  PrefixTreeStats stats = stats_;
  stats.pinned = static_cast<int32_t>(pinned_.size());
  return stats;
}

}  // namespace millrace
