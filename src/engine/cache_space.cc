#include "engine/cache_space.h"

#include <algorithm>
#include <charconv>

namespace millrace {
namespace {

// First bytes: of an adapter's space, "\x01<length of the identity>:<identity><space>", and of a
// base space that would begin with either.
constexpr char kAdapter = '\x01', kBase = '\x02';

}  // namespace

std::string SpaceOfBlocks(const AdapterInfo* adapter, std::string_view space) {
  std::string blocks;
  if (adapter != nullptr) {
    blocks = kAdapter + std::to_string(adapter->identity.size()) + ":" + adapter->identity;
  } else if (!space.empty() && (space[0] == kAdapter || space[0] == kBase)) {
    blocks = kBase;
  }
  return blocks.append(space);
}

std::string_view RequestSpaceOf(std::string_view space_of_blocks) {
  std::string_view space = space_of_blocks;
  if (space.empty() || (space[0] != kAdapter && space[0] != kBase)) return space;
  const bool adapted = space[0] == kAdapter;
  space.remove_prefix(1);
  if (!adapted) return space;
  size_t length = 0;
  const auto end = std::from_chars(space.data(), space.data() + space.size(), length).ptr;
  space.remove_prefix(
      std::min<size_t>(static_cast<size_t>(end - space.data()) + 1 + length, space.size()));
  return space;
}

}  // namespace millrace
