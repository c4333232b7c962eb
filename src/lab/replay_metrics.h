// The figures of a replay, as docs and reports define them:
//   TTFT = t1 - s; TPOT = (tN - t1) / (N - 1) per request, N >= 2; ITL = gaps between emissions, of
//   all requests together; stall = the largest gap of a request; E2E = tN - s; throughput = tokens
//   of whole answers / (last end - first s); goodput = whole answers that meet every target /
//   (last end - first s),
// with s the scheduled arrival, t1 ... tN when tokens came. Milliseconds, except where a name says
// otherwise. Failures are counted beside and enter no latency.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/replay.h"

namespace millrace {

// Targets that an answer must meet to count for goodput; absent: none.
struct ServiceTargets {
  std::optional<double> ttft_ms;
  std::optional<double> itl_ms;  // of the answer's mean gap
  std::optional<double> e2e_ms;
};
// "ttft=500ms,itl=80ms,e2e=2s".
Result<ServiceTargets> ParseTargets(std::string_view text);

struct LatencySummary {
  size_t count = 0;
  double mean = 0, median = 0;
  std::optional<double> p95;  // of at least 200
  std::optional<double> p99;  // of at least 1,000
};
LatencySummary SummarizeLatency(const std::vector<double>& values);

struct RunMetrics {
  size_t requests = 0, whole = 0;
  std::map<std::string, int64_t> failures;  // by what went wrong
  LatencySummary ttft, ttft_from_send, tpot, itl, stall, e2e;
  LatencySummary queued, prefill, decode;  // as the server said
  double seconds = 0;                      // from the first s to the last end
  double throughput = 0;                   // tokens / s
  double goodput = 0;                      // answers / s
  double within_targets = 0;               // share of whole answers
  double tokens_per_emission = 0;
  double prefix_hit = 0;  // cached / prompt tokens
  double accepted = 0;    // of drafted tokens; 0 where none were
  int64_t prompt_tokens = 0, output_tokens = 0, drafted_tokens = 0;
  // Sums over whole answers, ms: prefill and decode; what the server estimates to have saved.
  double computing = 0, cached_saved = 0, speculation_saved = 0;
  double client_cores_per_100_streams = 0;
};
RunMetrics Measure(const ReplayRun& run, const ServiceTargets& targets);

}  // namespace millrace
