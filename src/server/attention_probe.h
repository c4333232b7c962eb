// Standard and flash attention at this model's sizes, measured on the spot. Internal to server/.
#pragma once

#include <cstdint>

#include "openai_api/feed_json.h"
#include "simd/isa.h"

namespace millrace::server_internal {

struct AttentionSizes {
  int32_t heads = 0, kv_heads = 0, head_dim = 0;
  KvType kv_type = KvType::kBf16;
  Isa isa = Isa::kScalar;
};

inline constexpr int32_t kLeastProbed = 32, kMostProbed = 4096;  // tokens

// One layer's attention of a prompt of so many tokens, with random queries, keys and values, on one
// thread: each way kProbeRounds times, taking turns. What comes out is compared, in some rows
// spread over the prompt, with a reference in float64. An error where memory is short.
inline constexpr int kProbeRounds = 5;
Result<AttentionMeasured> ProbeAttention(const AttentionSizes& sizes, int32_t tokens);

}  // namespace millrace::server_internal
