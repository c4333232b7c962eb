// What the dashboard's event stream tells, as JSON texts. Times in milliseconds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "openai_api/api_error.h"
#include "openai_api/response.h"

namespace millrace {

// Of the last values of a kind; what too few values cannot say is absent.
struct LatencyFigures {
  int64_t count = 0;
  std::optional<double> p50, p90, p95, p99, most;
};

struct LoadFigures {
  EngineStats engine;
  int64_t prompt_tokens = 0, generated_tokens = 0;  // as /metrics counts them
  std::map<std::string, int64_t> ended;             // HTTP requests by their end: "completed", ...
  LatencyFigures first_token, between_tokens;
};
std::string LoadJson(const LoadFigures& load);

// A generation that has ended.
struct EndedRequest {
  int64_t serial = 0;
  std::string id;
  std::string end;  // "completed", ...
  int status = 0;
  double arrival_ms = 0;  // since the server's start
  double total_ms = 0;
  double first_token_ms = 0;  // since its arrival; 0: there was none
  std::string finish_reasons;
  Usage usage;
};
std::string EndedRequestsJson(std::span<const EndedRequest> requests);

// [[number, begin_ms, ms, waiting, [[request, kind, tokens, drafted, emitted, cached, finished],
// ...]], ...] with kind 0 queued, 1 preempted, 2 idle, 3 prefill, 4 decode.
std::string StepsJson(std::span<const TimelineStep> steps, TimePoint start);
// {"7": "req_..."} of the requests that the steps mention.
std::string StepNamesJson(std::span<const TimelineStep> steps,
                          const std::map<RequestId, std::string>& names);

// What static batching would have made of the same requests (server/static_replay.h). Its
// milliseconds are 0 where no step times have been measured.
struct StaticReplay {
  int32_t places = 0;  // sequences side by side, in both
  int64_t steps = 0;   // of the window that was replayed
  int64_t busy = 0;    // places that computed, summed over them
  int64_t static_steps = 0;
  int64_t static_busy = 0;
  double ms = 0;       // from the window's first step's begin to its last one's end
  double busy_ms = 0;  // the same places, each for what its step took
  double static_ms = 0;
  double static_busy_ms = 0;
  std::vector<TimelineStep> replayed;
};
std::string StaticReplayJson(const StaticReplay& replay);

// Contiguous allocation of the sequences that run (server/contiguous_picture.h).
struct ContiguousRegion {
  RequestId request;
  int32_t first = 0, blocks = 0;
  int32_t filled = 0;  // tokens
};
struct ContiguousMap {
  int32_t blocks = 0;
  std::vector<ContiguousRegion> regions;  // by place
  std::vector<RequestId> no_room;         // for those no gap is long enough
  int64_t reserved_slots = 0;             // positions of the regions
  int64_t filled_slots = 0;               // of them, those that hold something
  int32_t unusable_blocks = 0;            // free, outside the longest gap
};
// {"layout", "block_tokens", "runs": [[blocks, state, filled, [request, ...]], ...],
// "unused_slots", "filled_slots", "sequences", "contiguous": {...}}: equal blocks side by side are
// one run; state: 1 cached, 2 pinned, added up; filled: positions of each block.
std::string BlockRunsJson(const KvMap& map, const ContiguousMap& contiguous);

// [[before, tokens, blocks, in_use, pinned, used, text], ...]: text is null where the run is
// somebody else's.
struct ShownRun {
  PrefixRun run;
  std::optional<std::string> text;
};
std::string PrefixRunsJson(std::span<const ShownRun> runs, size_t left_out);

// What the server is.
struct ServerFacts {
  std::string version, model;
  bool chat = false;  // the model has a chat template
  int32_t context_length = 0, max_running = 0, max_step_tokens = 0;
  ModelInfo info;
  std::vector<std::pair<std::string, std::string>> switches;
  std::vector<std::string> stores;
};
std::string AboutJson(const ServerFacts& facts);

// A measurement that runs beside the server, or the last one.
struct MeasureState {
  std::string state = "idle";  // "running", "done", "failed", "cancelled"
  std::vector<std::string> switches;
  int done = 0, total = 0;  // runs; total 0: not known yet
  std::string progress;     // what runs, in words
  std::string message;      // why it failed
  int64_t serial = 0;       // 1 for the first
};
// `report`: JSON to go along, or nothing.
std::string MeasureStateJson(const MeasureState& state, std::string_view report = {});
// {"switches": [...], "minutes": M}.
struct MeasureOrder {
  std::vector<std::string> switches;
  double minutes = 1;
};
ApiResult<MeasureOrder> ParseMeasureOrder(std::string_view body);

// One layer's attention, measured both ways (server/attention_probe.h).
struct AttentionMeasured {
  int32_t tokens = 0;
  int64_t kv_bytes = 0;        // of the keys and values, which both read
  int32_t reference_rows = 0;  // that were compared with float64
  struct Way {
    std::vector<double> ms;          // of each round
    int64_t intermediate_bytes = 0;  // written to memory, and read again
    double largest_difference = 0;   // from the reference
  };
  Way standard, flash;
};
std::string AttentionJson(const AttentionMeasured& measured);
// {"tokens": N} -> N, from `least` to `most`.
ApiResult<int32_t> ParseProbeTokens(std::string_view body, int32_t least, int32_t most);

// An object of parts that are JSON already.
std::string ObjectOf(std::span<const std::pair<std::string, std::string>> parts);

}  // namespace millrace
