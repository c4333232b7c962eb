// One run of an ablation: a fresh server, warmed up, the round's requests, its figures.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/ablation.h"
#include "lab/replay.h"
#include "lab/replay_metrics.h"
#include "workload_reading.h"

namespace millrace {

// How requests come in the runs.
struct Traffic {
  std::string arrivals = "closed";  // closed, recorded, poisson or bursty
  size_t clients = 4;               // closed
  double rate = 0;                  // requests a second: poisson, bursty
  uint64_t seed = 1;
};
std::string Described(const Traffic& traffic);  // "closed loop, 4 clients"

// The server's flags beside the switches: model, draft, and what the user adds.
struct ServerSetup {
  std::string binary;
  std::string model;  // empty: the embedded one
  std::string draft;
  std::vector<std::string> more_flags;
  std::string log_file;
};
std::vector<std::string> FlagsFor(const ServerSetup& setup, const LabConfiguration& configuration,
                                  const SwitchList& switches);

class RunLauncher {
 public:
  RunLauncher(ServerSetup setup, SwitchList switches, const Workload& workload,
              std::vector<int32_t> plain_tokens, Traffic traffic, ServiceTargets targets,
              int32_t max_tokens);

  // Starts a server, replays those requests of the workload, stops it. An error: it did not start.
  Result<RunRecord> Run(const LabConfiguration& configuration,
                        const std::vector<size_t>& items) const;
  // Starts one and asks how long its sequences may be; tells how long that took.
  struct Start {
    double seconds = 0;
    int32_t context_tokens = 0;
  };
  Result<Start> TryStart(const LabConfiguration& configuration) const;

 private:
  std::vector<ReplayRequest> Requests(const std::vector<size_t>& items) const;

  const ServerSetup setup_;
  const SwitchList switches_;
  const Workload& workload_;
  const std::vector<int32_t> plain_tokens_;
  const Traffic traffic_;
  const ServiceTargets targets_;
  const int32_t max_tokens_;
};

// The figures of a replay by name, as RunRecord holds them.
void FillRecord(const ReplayRun& run, const RunMetrics& metrics, const ServiceTargets& targets,
                RunRecord& record);

}  // namespace millrace
