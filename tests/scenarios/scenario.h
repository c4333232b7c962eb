// What the scenarios share: how long they run, and the real binary under a real load.
//
// A scenario runs in two sizes: a few seconds, as a ctest, where only what must hold on any machine
// is checked; and whole (MILLRACE_SCENARIOS=full, `make scenarios`), where times are as well.
#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/end_to_end/server_process.h"
#include "tests/scratch_folder.h"

namespace millrace {

bool IsFull();

// A chat about invented facts for the demo model, greedy, `max_tokens` long.
nlohmann::json EvidenceChat(uint64_t seed, int passages, int max_tokens);

// "name{labels}" -> value, of GET /metrics.
std::map<std::string, double> ReadMetrics(uint16_t port);

// The request lines of a server's JSON log, by the request's id. An id that was logged twice fails
// the test.
std::map<std::string, nlohmann::json> RequestLines(const ServerProcess& server);

// The value below which a share of `values` lies; 0 where there are none.
double Quantile(std::vector<double> values, double share);

}  // namespace millrace
