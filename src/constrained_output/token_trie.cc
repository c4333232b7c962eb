#include "constrained_output/token_trie.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace millrace::constrained_internal {
namespace {

// How far a plain character has come: bytes of its form; form -1: it is none.
struct CharacterPlace {
  int32_t form = 0, bytes = 0;
  bool is_whole() const { return form >= 0 && bytes == kPlainCharacters[form].bytes; }
};

bool Holds(ByteRange range, uint8_t byte) { return range.low <= byte && byte <= range.high; }

CharacterPlace Behind(CharacterPlace place, uint8_t byte) {
  if (place.form < 0) return place;
  if (place.bytes > 0 && !place.is_whole()) {
    const bool goes_on = Holds(kPlainCharacters[place.form].range[place.bytes], byte);
    return goes_on ? CharacterPlace{place.form, place.bytes + 1} : CharacterPlace{-1, 0};
  }
  for (int32_t form = 0; form < static_cast<int32_t>(std::size(kPlainCharacters)); ++form) {
    if (Holds(kPlainCharacters[form].range[0], byte)) return {form, 1};
  }
  return {-1, 0};
}

}  // namespace

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
                        .plain_characters = 0,
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
  FindPlain();
}

void TokenTrie::FindPlain() {
  constexpr int32_t kMost = 127;  // characters
  struct Found {
    int32_t parent = -1;
    CharacterPlace place;    // behind the node's byte
    bool plain = true;       // the node and its descendants
    int32_t characters = 0;  // that end in it or its descendants, on the longest way
  };
  std::vector<Found> found(nodes_.size());
  std::vector<size_t> path(max_depth_);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const size_t depth = nodes_[i].depth;
    path[depth] = i;
    if (depth > 0) found[i].parent = static_cast<int32_t>(path[depth - 1]);
    found[i].place =
        Behind(depth > 0 ? found[path[depth - 1]].place : CharacterPlace{}, nodes_[i].byte);
  }
  for (size_t i = nodes_.size(); i-- > 0;) {  // descendants before their ancestors
    Found& f = found[i];
    if (f.place.is_whole()) ++f.characters;
    f.plain = f.plain && f.place.form >= 0 && (nodes_[i].has_tokens == 0 || f.place.is_whole());
    const bool begins = f.place.bytes == 1;
    if (f.plain && begins && f.characters <= kMost) {
      nodes_[i].plain_characters = static_cast<uint8_t>(f.characters & kMost);
    }
    if (f.parent < 0) continue;
    Found& parent = found[static_cast<size_t>(f.parent)];
    parent.plain = parent.plain && f.plain;
    parent.characters = std::max(parent.characters, f.characters);
  }
}

}  // namespace millrace::constrained_internal
