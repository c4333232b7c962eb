#include "openai_api/debug_json.h"

#include "openai_api/json_fields.h"

namespace millrace {
namespace {

using openai_internal::Dump;
using openai_internal::Json;

const char* NameOf(TimelinePart::Kind kind) {
  switch (kind) {
    case TimelinePart::Kind::kQueued:
      return "queued";
    case TimelinePart::Kind::kPreempted:
      return "preempted";
    case TimelinePart::Kind::kIdle:
      return "idle";
    case TimelinePart::Kind::kPrefill:
      return "prefill";
    case TimelinePart::Kind::kDecode:
      return "decode";
  }
  return "unknown";
}

// Counts of nothing are left out: there are many parts.
Json PartJson(const TimelinePart& part) {
  Json json = {{"request", part.request.value}, {"part", NameOf(part.kind)}};
  const std::pair<const char*, int32_t> counts[] = {{"tokens", part.tokens},
                                                    {"draft", part.drafted},
                                                    {"emitted", part.emitted},
                                                    {"cached", part.cached}};
  for (const auto& [name, count] : counts) {
    if (count > 0) json[name] = count;
  }
  if (part.finished) json["finished"] = true;
  return json;
}

// A free block is {}: there are many.
Json BlockJson(const KvBlockUse& block) {
  Json json = Json::object();
  if (block.holders > 0) json["holders"] = block.holders;
  if (block.filled > 0) json["filled"] = block.filled;
  if (block.cached) json["cached"] = true;
  if (block.pinned) json["pinned"] = true;
  for (const RequestId request : block.requests) json["requests"].push_back(request.value);
  return json;
}

}  // namespace

std::string KvMapJson(const KvMap& map, const std::map<RequestId, std::string>& names) {
  Json json = {{"layout", map.layout == KvLayout::kPaged ? "paged" : "contiguous"},
               {"block_tokens", kBlockTokens},
               {"blocks", Json::array()}};
  Json requests = Json::object();
  for (const KvBlockUse& block : map.blocks) {
    json["blocks"].push_back(BlockJson(block));
    for (const RequestId request : block.requests) {
      const auto name = names.find(request);
      if (name != names.end()) requests[std::to_string(request.value)] = name->second;
    }
  }
  json["requests"] = std::move(requests);
  json["reserved_bytes"] = map.reserved_bytes;
  if (map.resident_bytes) json["resident_bytes"] = *map.resident_bytes;
  if (map.huge_page_bytes) json["huge_page_bytes"] = *map.huge_page_bytes;
  return Dump(json);
}

std::string TimelineJson(std::span<const TimelineStep> steps, TimePoint start, TimePoint now,
                         const std::map<RequestId, std::string>& names) {
  Json json = {{"now_ms", Milliseconds(now - start)}, {"steps", Json::array()}};
  Json requests = Json::object();
  for (const TimelineStep& step : steps) {
    Json parts = Json::array();
    for (const TimelinePart& part : step.parts) {
      parts.push_back(PartJson(part));
      const auto name = names.find(part.request);
      if (name != names.end()) requests[std::to_string(part.request.value)] = name->second;
    }
    json["steps"].push_back({{"step", step.number},
                             {"begin_ms", Milliseconds(step.begun - start)},
                             {"ms", Milliseconds(step.took)},
                             {"waiting", step.waiting},
                             {"parts", std::move(parts)}});
  }
  json["requests"] = std::move(requests);
  return Dump(json);
}

}  // namespace millrace
