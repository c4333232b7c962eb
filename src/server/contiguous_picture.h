// ContiguousPicture: where the sequences that run would lie, if each had one run of blocks for all
// that it may become (scheduler_regions.cc, without moving them together). Internal to server/.
//
// Invariant: a sequence keeps its place while it runs; a new one takes the first gap that is long
// enough, in order of admission; so the holes are those that these arrivals and ends leave, as far
// as they were seen: what comes and goes between two looks is not.
#pragma once

#include "openai_api/feed_json.h"

namespace millrace::server_internal {

class ContiguousPicture {
 public:
  ContiguousMap Update(const KvMap& now);

 private:
  std::vector<ContiguousRegion> regions_;  // by place
};

}  // namespace millrace::server_internal
