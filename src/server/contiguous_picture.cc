#include "server/contiguous_picture.h"

#include <algorithm>

namespace millrace::server_internal {
namespace {

const KvSequenceUse* SequenceOf(const KvMap& map, RequestId request) {
  for (const KvSequenceUse& s : map.sequences) {
    if (s.request == request) return &s;
  }
  return nullptr;
}

// Calls see(first, length, index of the region behind it) for each gap until it returns true.
template <class See>
bool ForEachGap(const std::vector<ContiguousRegion>& regions, int32_t blocks, See see) {
  int32_t at = 0;
  for (size_t i = 0; i <= regions.size(); ++i) {
    const int32_t end = i < regions.size() ? regions[i].first : blocks;
    if (end > at && see(at, end - at, i)) return true;
    if (i < regions.size()) at = regions[i].first + regions[i].blocks;
  }
  return false;
}

}  // namespace

ContiguousMap ContiguousPicture::Update(const KvMap& now) {
  const auto blocks = static_cast<int32_t>(now.blocks.size());
  std::erase_if(regions_, [&](const ContiguousRegion& r) {
    return SequenceOf(now, r.request) == nullptr || r.first + r.blocks > blocks;
  });
  ContiguousMap map;
  map.blocks = blocks;
  for (const KvSequenceUse& s : now.sequences) {
    const auto placed = std::find_if(regions_.begin(), regions_.end(),
                                     [&](const auto& r) { return r.request == s.request; });
    if (placed != regions_.end()) {
      placed->filled = s.computed;
      continue;
    }
    const int32_t needed = BlocksFor(s.most);
    const bool found = ForEachGap(regions_, blocks, [&](int32_t first, int32_t length, size_t i) {
      if (length < needed) return false;
      regions_.insert(regions_.begin() + static_cast<std::ptrdiff_t>(i),
                      {s.request, first, needed, s.computed});
      return true;
    });
    if (!found) map.no_room.push_back(s.request);
  }
  int32_t free = 0, longest = 0;
  ForEachGap(regions_, blocks, [&](int32_t, int32_t length, size_t) {
    free += length;
    longest = std::max(longest, length);
    return false;
  });
  map.unusable_blocks = free - longest;
  map.regions = regions_;
  for (const ContiguousRegion& r : regions_) {
    map.reserved_slots += int64_t{r.blocks} * kBlockTokens;
    map.filled_slots += r.filled;
  }
  return map;
}

}  // namespace millrace::server_internal
