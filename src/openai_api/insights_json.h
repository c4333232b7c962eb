// GET /v1/insights: what the optimisations save, as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace millrace {

// Summed over completed requests. Milliseconds of requests' time: those that run together each
// count.
struct SavingsSum {
  int64_t requests = 0;
  int64_t prompt_tokens = 0, cached_tokens = 0;
  int64_t output_tokens = 0, drafted_tokens = 0, accepted_tokens = 0;
  double computing_ms = 0;  // prefill and decode
  double queued_ms = 0;
  double cached_saved_ms = 0;       // as measured costs say (Usage)
  double speculation_saved_ms = 0;  // the same
  int64_t dropped_passages = 0, dropped_passage_tokens = 0;
  double reduction_saved_ms = 0;  // what prefilling them would have taken
  double reduction_ms = 0;        // what choosing took
};

// What requests take from arrival to end, with an optimisation / without it.
struct RequestTimeEstimate {
  std::string name;
  std::string flag;  // of its switch
  double ratio = 1;
  int64_t requests = 0;  // that it is made from
  std::string by;
};

// {"now": {"seconds", "requests", ..., "optimisations": [{"name", "switch", "saved_ms", "ratio",
// "by"}]}, "since_start": the same, "request_time": [{"name", "switch", "ratio", "requests",
// "by"}], "not_estimated": [...]}. ratio of the first: computing time with it / the estimate
// without it; null where nothing was computed.
std::string InsightsJson(const SavingsSum& now, double window_seconds, const SavingsSum& total,
                         double seconds, std::span<const RequestTimeEstimate> estimates);

}  // namespace millrace
