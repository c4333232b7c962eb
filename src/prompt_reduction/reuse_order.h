// ReuseOrder: an order of passages in which prompts begin as earlier ones did, so that the prefix
// cache has their beginning: a walk down the tree of the orders so far, each step to the passage
// that most of them went to.
//
// Invariant: thread-safe; its memory is bounded (kReuseNodes; the longest unused go first). The
// order is a permutation of what was given, and depends on nothing but the calls before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace millrace {

inline constexpr size_t kReuseNodes = 20'000;

class ReuseOrder {
 public:
  explicit ReuseOrder(size_t most_nodes = kReuseNodes) : most_nodes_(most_nodes) {}

  // `keys`: of the passages, what tells them apart, in the order that they have where nothing is
  // known. Gives indices in the order to take, and remembers it. Calls of one `root` share a tree:
  // prompts that begin alike, and may know of each other.
  std::vector<size_t> Order(uint64_t root, std::span<const uint64_t> keys);
  size_t nodes() const;

 private:
  struct Node {
    uint64_t uses = 0;
    uint64_t last = 0;  // the call that used it
  };
  // A node is the hash of its path; its children are the entries behind (path, 0).
  using Edge = std::pair<uint64_t, uint64_t>;  // path, key

  void Forget();

  const size_t most_nodes_;
  mutable std::mutex mutex_;
  std::map<Edge, Node> nodes_;
  uint64_t calls_ = 0;
};

}  // namespace millrace
