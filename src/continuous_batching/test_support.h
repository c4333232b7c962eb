// What the tests of the scheduler share.
#pragma once

#include "continuous_batching/scheduler.h"

namespace millrace {

// The slices that a plan is expected to hold.
inline Slice Chunk(int64_t id, int32_t first, int32_t count) {
  return {RequestId(id), first, count, /*samples=*/false};
}
inline Slice LastChunk(int64_t id, int32_t first, int32_t count) {
  return {RequestId(id), first, count, /*samples=*/true};
}

}  // namespace millrace
