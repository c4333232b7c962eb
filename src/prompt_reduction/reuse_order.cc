#include "prompt_reduction/reuse_order.h"

#include <algorithm>

#include "base/rng.h"

namespace millrace {

std::vector<size_t> ReuseOrder::Order(uint64_t root, std::span<const uint64_t> keys) {
  std::lock_guard lock(mutex_);
  ++calls_;
  std::vector<size_t> order;
  std::vector<size_t> left(keys.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = i;
  uint64_t path = Mix64(root + 1);
  while (!left.empty()) {
    auto next = left.begin();
    uint64_t most = 0;
    for (auto candidate = left.begin(); candidate != left.end(); ++candidate) {
      const auto known = nodes_.find({path, keys[*candidate]});
      if (known == nodes_.end() || known->second.uses <= most) continue;
      most = known->second.uses;
      next = candidate;
    }
    const size_t taken = *next;
    left.erase(next);
    order.push_back(taken);
    Node& node = nodes_[{path, keys[taken]}];
    ++node.uses;
    node.last = calls_;
    path = Mix64(path ^ keys[taken]) + 1;
  }
  if (nodes_.size() > most_nodes_) Forget();
  return order;
}

size_t ReuseOrder::nodes() const {
  std::lock_guard lock(mutex_);
  return nodes_.size();
}

// Keeps the half that was used last: a node is used whenever one below it is, so that what stays
// hangs together.
void ReuseOrder::Forget() {
  std::vector<uint64_t> times;
  for (const auto& [edge, node] : nodes_) times.push_back(node.last);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  std::erase_if(nodes_, [&](const auto& entry) { return entry.second.last <= *middle; });
}

}  // namespace millrace
