#include "constrained_output/token_trie.h"

#include <algorithm>
#include <limits>

namespace millrace::constrained_internal {

TokenTrie::TokenTrie(std::vector<std::pair<std::string, int32_t>> tokens) {
  std::erase_if(tokens, [](const auto& token) {
    return token.first.empty() || token.first.size() > std::numeric_limits<uint16_t>::max();
  });
  std::sort(tokens.begin(), tokens.end());
  std::vector<int32_t> path;  // the nodes of the token before
  std::string before;
  for (const auto& [bytes, id] : tokens) {
    const auto differs = std::mismatch(before.begin(), before.end(), bytes.begin(), bytes.end());
    const auto common = static_cast<size_t>(differs.second - bytes.begin());
    for (size_t depth = common; depth < path.size(); ++depth) {
      nodes_[static_cast<size_t>(path[depth])].end = static_cast<int32_t>(nodes_.size());
    }
    path.resize(common);
    for (size_t depth = common; depth < bytes.size(); ++depth) {
      path.push_back(static_cast<int32_t>(nodes_.size()));
      nodes_.push_back({.byte = static_cast<uint8_t>(bytes[depth]),
                        .has_tokens = 0,
                        .depth = static_cast<uint16_t>(depth),
                        .end = 0});
      first_token_.push_back(static_cast<uint32_t>(tokens_.size()));
    }
    nodes_[static_cast<size_t>(path.back())].has_tokens = 1;
    tokens_.push_back(id);
    max_depth_ = std::max(max_depth_, bytes.size());
    before = bytes;
  }
  for (const int32_t node : path) {
    nodes_[static_cast<size_t>(node)].end = static_cast<int32_t>(nodes_.size());
  }
  first_token_.push_back(static_cast<uint32_t>(tokens_.size()));
}

}  // namespace millrace::constrained_internal
