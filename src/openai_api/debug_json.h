// What the debug endpoints show, as JSON texts for a program that draws it.
#pragma once

#include <map>
#include <span>
#include <string>

#include "engine/timeline.h"
#include "paged_kv/kv_map.h"

namespace millrace {

// {"now_ms", "steps": [{"step", "begin_ms", "ms", "waiting", "parts": [{"request", "part", ...}]}],
// "requests": {"7": "req_..."}}. Times since `start`. `names`: of the engine's requests, as far as
// they are known; those that the steps do not mention are left out.
std::string TimelineJson(std::span<const TimelineStep> steps, TimePoint start, TimePoint now,
                         const std::map<RequestId, std::string>& names);

// {"layout", "block_tokens", "blocks": [{"holders", "filled", ...}], "requests", "reserved_bytes",
// ...}: the blocks by id; a free one is {}.
std::string KvMapJson(const KvMap& map, const std::map<RequestId, std::string>& names);

}  // namespace millrace
