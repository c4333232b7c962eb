// KvMap: what each KV block is used for at one moment, to be drawn or looked at.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/id.h"
#include "paged_kv/block_pool.h"

namespace millrace {

// A block with no holders is free; one that only the prefix cache holds is given up where it is
// needed, unless it is pinned.
struct KvBlockUse {
  int32_t holders = 0;  // references, the prefix cache's among them; several: shared, not copied
  bool cached = false;  // the prefix cache knows what is in it
  bool pinned = false;  // and keeps it
  int32_t filled = 0;   // of its kBlockTokens positions, those that are computed
  std::vector<RequestId> requests;  // that have it in their block table, in order of admission
};

// A sequence that runs.
struct KvSequenceUse {
  RequestId request;
  int32_t computed = 0;  // tokens whose keys and values are there
  int32_t most = 0;      // tokens that it may come to hold
};

struct KvMap {
  KvLayout layout = KvLayout::kPaged;
  std::vector<KvBlockUse> blocks;        // by block id
  std::vector<KvSequenceUse> sequences;  // in order of admission
  // The memory behind the blocks: what is set aside, what of it is physical memory by now, and what
  // of that stands on huge pages; the last two only where the system says so.
  int64_t reserved_bytes = 0;
  std::optional<int64_t> resident_bytes;
  std::optional<int64_t> huge_page_bytes;
};

// The same in numbers, without looking at every block.
struct KvUsage {
  // Internal fragmentation: positions of the running sequences' blocks that nothing is in yet.
  int64_t unused_slots = 0;
  // External fragmentation: free blocks outside the longest free run, where a sequence needs its
  // blocks side by side; with paging every free block is as good as another, and this is 0.
  int32_t unusable_blocks = 0;
  int64_t compactions = 0;   // times that sequences were moved together to make room for another
  int64_t moved_blocks = 0;  // copied for that
};

// Sums over the engine's steps, of positions, each step's as they were after it. Divided by `steps`
// they are means; between two looks, means over the time between.
struct KvOverSteps {
  int64_t steps = 0;
  int64_t held = 0;      // of blocks of running sequences
  int64_t unused = 0;    // of those, as in KvUsage
  int64_t unusable = 0;  // of free blocks, as in KvUsage
};

}  // namespace millrace
