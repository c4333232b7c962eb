// PrefixTree: which KV blocks already hold a prompt's beginning. A radix tree whose edges are
// blocks of kBlockTokens token ids; every node owns a share of the block that holds the keys and
// values of its tokens, given those of its ancestors. Source: RadixAttention (Zheng et al. 2024,
// "SGLang", section 3), with the block granularity of PagedAttention (Kwon et al. 2023, 4.3).
//
// Invariants:
// - Token ids are compared, never hashes: a match is exact.
// - Sequences of different namespaces never see each other's nodes.
// - Only a leaf may hold fewer than kBlockTokens tokens, and no node's tokens begin those of a
//   sibling. So at most two neighbours of the sorted siblings can continue a prompt best.
// - A block in the tree is written only by the sequence that filled it, and only behind the tokens
//   that the tree knows of it. Others copy it before they write (copy-on-write).
// - A sequence that holds a node's block holds those of all its ancestors. So the nodes whose block
//   has no other holder can all be evicted, leaves first: their number is BlockPool::reclaimable()
//   (pinned ones apart).
// Owned by one thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "paged_kv/block_pool.h"
#include "paged_kv/kv_map.h"
#include "prefix_cache/prefix_picture.h"
#include "prefix_cache/sha256.h"

namespace millrace {

struct PrefixTreeConfig {
  int32_t max_pinned = 0;  // blocks that pins may keep from eviction; those past it are not pinned
  // Computing a token at position p costs 1 + p * position_cost, in units of a token at position 0:
  // attention reads p keys. The default is that of a model of about 1.5 billion parameters.
  double position_cost = 1.0 / 16384;
};

struct PrefixTreeStats {
  int32_t nodes = 0;    // each with a block
  int32_t pinned = 0;   // of them
  int64_t evicted = 0;  // blocks given up for others
  int64_t shared = 0;   // blocks that two sequences computed at once, made one
};

// Names a beginning that ends with a whole block: a digest of the namespace, then of that and each
// block's token ids in turn.
Digest ChainOf(std::string_view space);
Digest ChainOf(const Digest& before, std::span<const TokenId> block);

// A whole block that the tree knows.
struct KnownBlock {
  BlockId block;
  std::span<const TokenId> tokens;  // the block's own
  Digest chain;
};

class PrefixTree {
 public:
  // A node; only the tree looks inside.
  struct Node;
  // How far a sequence's own blocks are in the tree: its first `blocks` blocks are those of `node`
  // and its ancestors. Valid while the sequence holds them; a fresh one is the beginning.
  struct Cursor {
    Node* node = nullptr;
    int32_t blocks = 0;
  };
  // What of a prompt is there. The references keep it there.
  struct Match {
    std::vector<BlockRef> blocks;  // whole ones
    BlockRef partial;  // or none: a block whose first `partial_tokens` slots are right too
    int32_t partial_tokens = 0;
    Node* partial_node = nullptr;  // until the tree changes
    Cursor cursor;                 // behind `blocks`

    int32_t tokens() const {
      return static_cast<int32_t>(blocks.size()) * kBlockTokens + partial_tokens;
    }
  };

  // `pool` must outlive the tree.
  PrefixTree(BlockPool& pool, const PrefixTreeConfig& config);
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  // The longest beginning of `tokens` that is there. Does not count as a use: see Touch.
  Match Find(std::string_view space, std::span<const TokenId> tokens) const;
  // Match::tokens() of Find, taking nothing.
  int32_t Count(std::string_view space, std::span<const TokenId> tokens) const;
  // What stands for a sequence's beginning is used now; a match: before the tree changes.
  void Touch(const Match& match);
  void Touch(const Cursor& cursor);

  // Makes a sequence's blocks known. `computed`: its tokens from position 0 whose keys and values
  // are in `blocks`, a beginning that grows from call to call; `cursor`: from the last call, or
  // from the match that the sequence began with. Moves the cursor behind the whole blocks. Where
  // another sequence has made the same block known, blocks[i] is replaced by it, for i from the
  // cursor on. A last block that is filled in part becomes known so far: the sequence may go on to
  // fill it.
  void Extend(Cursor& cursor, std::string_view space, std::span<const TokenId> computed,
              std::span<BlockRef> blocks);

  // Frees up to `count` blocks that nobody else holds, and returns how many. Leaves go first, by
  // least recent use weighted with what computing them again costs (GreedyDual-Size, Cao and Irani
  // 1997: a node's value is the floor at its last use plus its cost; the least value goes, and
  // becomes the floor). Pinned nodes stay.
  int32_t Evict(int32_t count);

  // Called for each whole block that Evict is about to free, while its memory is what it was.
  void OnEvict(std::function<void(const KnownBlock&)> callback) { on_evict_ = std::move(callback); }
  // Visits every whole block, each before those that begin it.
  void ForEachBlock(const std::function<void(const KnownBlock&)>& visit);

  // Keeps the whole blocks of the beginning of `tokens` that are there from eviction, as far as
  // max_pinned goes; returns how many are pinned now of those.
  int32_t Pin(std::string_view space, std::span<const TokenId> tokens);
  // Ends that, except for blocks that are the beginning of something else that is pinned.
  void Unpin(std::string_view space, std::span<const TokenId> tokens);
  void UnpinAll();

  // The runs of blocks that were used last, `most` at most, with all that leads to them; for
  // drawing. Visits every node.
  PrefixPicture Picture(size_t most) const;
  // Writes into `map` which blocks are cached and pinned, and how far they are filled.
  void Mark(KvMap& map) const;
  PrefixTreeStats stats() const;
  // Whether all the invariants above that can be checked hold: for tests; visits every node.
  bool IsConsistent() const;

 private:
  // Siblings in the order of their token ids; spans of token ids can be looked up among them.
  struct Order {
    using is_transparent = void;
    bool operator()(const std::unique_ptr<Node>& a, const std::unique_ptr<Node>& b) const;
    bool operator()(const std::unique_ptr<Node>& a, std::span<const TokenId> b) const;
    bool operator()(std::span<const TokenId> a, const std::unique_ptr<Node>& b) const;
  };
  struct LeastValue {
    bool operator()(const Node* a, const Node* b) const;
  };
  struct Path {
    Node* last = nullptr;  // of the whole blocks; null: no such namespace
    int32_t blocks = 0;
    Node* partial = nullptr;
    int32_t partial_tokens = 0;
  };

  Path Walk(std::string_view space, std::span<const TokenId> tokens) const;
  Node& Place(Node& parent, std::span<const TokenId> tokens, BlockRef& block);
  Node& Append(Node& parent, std::span<const TokenId> tokens, const BlockRef& block);
  void LetGo(Node& node);
  void Drop(Node& leaf);
  void Use(Node& node);
  void SetPinned(Node& node, bool pinned);
  static Digest ChainOfNode(Node& node);
  double CostOf(const Node& node) const;
  bool IsConsistent(const Node& node) const;

  BlockPool* pool_;
  PrefixTreeConfig config_;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> roots_;  // by namespace; none is empty
  std::set<Node*, LeastValue> leaves_;  // not pinned; the first goes first
  std::set<Node*> pinned_;
  double floor_ = 0;
  int64_t uses_ = 0;
  PrefixTreeStats stats_;
  std::function<void(const KnownBlock&)> on_evict_;
};

}  // namespace millrace
