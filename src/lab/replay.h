// The replay client: sends requests to a server as users would, and notes when what came.
//
// Latency counts from when a request was due, not from when it could be sent: a slow server cannot
// hide its queue behind a client that waits for it. What came is stamped as it is read and taken
// apart after the run, so that the client takes little from the server on the same machine; what it
// took is measured. One thread, a connection per request, Boost.Asio.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace {

struct ReplayRequest {
  std::string path;  // "/v1/chat/completions"
  std::string body;  // JSON with "stream": true and usage asked for
  double arrival_seconds = 0;
  std::string session = {};  // requests of one are sent one after the other, in order; empty: alone
  double delay_seconds = 0;  // after the answer before it in its session
};

enum class ReplayLoop {
  kOpen,   // by arrival_seconds; of a session, not before the answer before it and the delay
  kClosed  // `clients` at once, each with its next session as soon as the one before is done
};

struct ReplayOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;
  ReplayLoop loop = ReplayLoop::kClosed;
  size_t clients = 4;
  double time_limit = 120;  // seconds of one request, from its sending
};

// One answer. Times in seconds since the replay's start, on a monotonic clock.
struct ReplayAnswer {
  std::string failure;  // empty: a whole answer; else "HTTP 503", "connection", "time limit", ...
  double scheduled = 0;
  double sent = 0;
  std::vector<double> emissions;  // when text came; one speculative step brings several tokens
  double end = 0;
  std::string text;
  // From the answer's usage.
  int64_t prompt_tokens = 0, output_tokens = 0, cached_tokens = 0;
  int64_t drafted_tokens = 0, accepted_tokens = 0;
  double queued_ms = 0, prefill_ms = 0, decode_ms = 0;
  double cached_saved_ms = 0, speculation_saved_ms = 0;  // the server's own estimates
  // Where the prompt was reduced: which of the request's passages are in it, by their place from 0;
  // one that was cut in pieces may come more than once.
  std::optional<std::vector<size_t>> kept_passages;

  bool ok() const { return failure.empty(); }
};

struct ReplayRun {
  std::vector<ReplayAnswer> answers;  // in the requests' order
  double seconds = 0;
  double client_cpu_seconds = 0;  // of the client's thread while it ran
  double stream_seconds = 0;      // summed over requests, from sending to end
  // Goal: under 0.01, 1 % of a core for 100 streams.
  double cores_per_100_streams() const {
    return stream_seconds > 0 ? 100 * client_cpu_seconds / stream_seconds : 0;
  }
};

// Called now and then with how many are done.
using ReplayProgress = std::function<void(size_t done)>;

// Never fails as a whole once it has started: what goes wrong is in the answers. Refused: no
// requests, no clients, an address that is none.
Result<ReplayRun> ReplayRequests(const std::vector<ReplayRequest>& requests,
                                 const ReplayOptions& options, const ReplayProgress& progress = {});

}  // namespace millrace
