// Topology: the cores and memory nodes that this process may use, and the plan of threads made from
// them: one per physical core, spread evenly over the memory nodes, no more than a container's
// share of processor time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace {

struct Core {
  int cpu = 0;   // of the system's numbers: the core's first hardware thread that is allowed
  int node = 0;  // memory node, counted from 0 over those that have allowed cores
};

struct Topology {
  std::vector<Core> cores;  // physical ones with a hardware thread that this process may use; >= 1
  int nodes = 1;
  int cpus = 1;                 // hardware threads that this process may use
  bool whole_machine = true;    // those are all there are
  std::optional<double> quota;  // processors' worth of time, where a control group limits it
};

// This machine, within the affinity and control groups of this process.
Topology ReadTopology();

// One of the machine's memory nodes, as the system numbers them.
struct MemoryNode {
  int number = 0;
  int cores = 0;       // physical, of the whole machine
  uint64_t bytes = 0;  // 0: not said
};
// At least one.
std::vector<MemoryNode> ReadMemoryNodes();

// A machine described in hwloc's notation, such as "numa:2 core:32 pu:2". For tests.
Result<Topology> SyntheticTopology(const std::string& description);

enum class Pinning { kAuto, kOn, kOff };
// "auto", "on" or "off"; another name is an error that lists them.
Result<Pinning> ParsePinning(const std::string& name);

// Where each thread of a team belongs; threads of the same memory node stand together.
struct ThreadPlan {
  std::vector<Core> threads;
  bool pinned = false;
  std::string reason;  // why pinned or not, for people

  int nodes() const { return threads.back().node + 1; }
};

// `threads` of 0 means one per core, at most the quota. With kAuto threads are pinned if the
// process has the machine to itself: no limits, and `load` (the average number of runnable tasks,
// as /proc/loadavg has it) below half a core.
ThreadPlan PlanThreads(const Topology& topology, int threads, Pinning pinning, double load);

// The load average over a minute, or 0 where the system has none.
double LoadAverage();

}  // namespace millrace
