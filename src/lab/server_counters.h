// What a server says of itself, read before and after a run: what /metrics counts (what attention
// did, and how KV memory was filled), and what /v1/insights estimates.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

// By the name before any label's brace; with labels, the sum over them.
using ServerCounters = std::map<std::string, double, std::less<>>;

// The text format of Prometheus. Lines that are no sample are passed over.
ServerCounters ParseCounters(std::string_view text);

// GET /metrics of a server on this machine. The error says what went wrong.
Result<ServerCounters> ReadCounters(uint16_t port);

// GET /v1/insights: by a switch's name, what requests take with the optimisation / without it, as
// the server estimates. Empty where it has nothing to estimate from.
Result<std::map<std::string, double>> ReadEstimates(uint16_t port);

// Of the time between the two: "attention_seconds"; "attention_mib", intermediate results that
// attention wrote; "kv_unused_percent" and "kv_unusable_percent": positions of held blocks that
// nothing is in, and of free blocks that nobody can have, each of the memory held, a mean over the
// steps; "preemptions"; and "kv_memory_mib", what is set aside. What a server does not count is
// left out.
std::map<std::string, double> MetricsBetween(const ServerCounters& before,
                                             const ServerCounters& after);

}  // namespace millrace
