// PrefixTree::Picture.
#include "prefix_cache/prefix_picture.h"

#include <algorithm>
#include <utility>

#include "prefix_cache/prefix_node.h"
#include "prefix_cache/prefix_tree.h"

namespace millrace {
namespace {

// The `most` runs used last, in their old order. A run's last use is no earlier than that of what
// continues it, so what leads to a run that stays, stays.
PrefixPicture LastUsed(std::vector<PrefixRun> runs, size_t most) {
  PrefixPicture picture;
  if (runs.size() > most) {
    std::vector<size_t> order(runs.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return runs[a].used > runs[b].used; });
    picture.left_out = runs.size() - most;
    order.resize(most);
    std::sort(order.begin(), order.end());
    std::vector<size_t> place(runs.size());
    for (const size_t old : order) {
      place[old] = picture.runs.size();
      PrefixRun& run = picture.runs.emplace_back(std::move(runs[old]));
      if (run.before) run.before = place[*run.before];
    }
  } else {
    picture.runs = std::move(runs);
  }
  return picture;
}

}  // namespace

PrefixPicture PrefixTree::Picture(size_t most) const {
  std::vector<PrefixRun> runs;
  struct Start {
    const Node* node;
    std::optional<size_t> before;
    const std::string* space;
  };
  std::vector<Start> work;
  for (const auto& [space, root] : roots_) {
    for (const auto& child : root->children) work.push_back({child.get(), std::nullopt, &space});
  }
  while (!work.empty()) {
    const Start start = work.back();
    work.pop_back();
    const size_t index = runs.size();
    PrefixRun& run = runs.emplace_back();
    run.before = start.before;
    run.space = *start.space;
    const auto head = start.node->tokens();
    run.head.assign(head.begin(), head.end());
    run.pinned = true;
    const Node* node = start.node;
    while (true) {
      run.tokens += node->count;
      ++run.blocks;
      run.in_use += node->block.IsUnique() ? 0 : 1;
      run.pinned = run.pinned && node->pinned;
      run.used = std::max(run.used, node->used);
      if (node->children.size() != 1) break;
      node = node->children.begin()->get();
    }
    for (const auto& child : node->children) work.push_back({child.get(), index, start.space});
  }
  // What continues a run uses it, too.
  for (size_t i = runs.size(); i-- > 0;) {
    if (runs[i].before) {
      int64_t& used = runs[*runs[i].before].used;
      used = std::max(used, runs[i].used);
    }
  }
  return LastUsed(std::move(runs), most);
}

}  // namespace millrace
