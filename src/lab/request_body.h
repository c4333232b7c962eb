// From a workload's request to what the replay sends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lab/replay.h"
#include "lab/workload.h"

namespace millrace {

struct BodyOptions {
  int32_t max_tokens = 64;  // where the workload does not say
  // Token ids that stand for texts that a trace of lengths does not have: no control tokens. Must
  // not be empty where there are such requests.
  std::span<const int32_t> plain_tokens;
};

// Greedy unless the request says otherwise, with a fixed seed; streamed, with usage. With texts:
// the recorded output length is a limit, and the model may end before; passages go in front as the
// demo model was taught; further options as the request has them. A request of lengths alone is
// made of tokens drawn by its prefix_blocks (so that equal beginnings are equal) or by `position`,
// and its answer goes on to the recorded length.
ReplayRequest ToReplayRequest(const WorkloadRequest& request, size_t position,
                              const BodyOptions& options);

// `count` requests that share nothing with any workload: to warm a server up.
std::vector<ReplayRequest> WarmUpRequests(size_t count, uint64_t seed);

}  // namespace millrace
