#include "base/topology.h"

#include <hwloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/cgroup.h"
#include "base/check.h"

namespace millrace {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using OwnedTopology = std::unique_ptr<hwloc_topology, DestroyTopology>;
struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using OwnedBitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

// The cores within `allowed`; hardware threads stand for cores where the system shows no cores.
Topology CoresWithin(hwloc_topology_t topology, hwloc_const_cpuset_t allowed) {
  Topology result;
  std::map<int, int> nodes;  // the system's number -> ours
  const bool has_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
  const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  for (hwloc_obj_t core = nullptr;
       (core = hwloc_get_next_obj_by_type(topology, type, core)) != nullptr;) {
    const OwnedBitmap here(hwloc_bitmap_alloc());
    hwloc_bitmap_and(here.get(), core->cpuset, allowed);
    const int cpu = hwloc_bitmap_first(here.get());
    if (cpu < 0) continue;
    const int node = std::max(0, hwloc_bitmap_first(core->nodeset));
    result.cores.push_back(
        {cpu, nodes.try_emplace(node, static_cast<int>(nodes.size())).first->second});
  }
  if (result.cores.empty()) result.cores.push_back({});
  result.nodes = std::max(1, static_cast<int>(nodes.size()));
  result.cpus = std::max(1, hwloc_bitmap_weight(allowed));
  return result;
}

// As many cores of each node as of the others, as far as they go, ordered by node.
std::vector<Core> SpreadOverNodes(const Topology& topology, size_t count) {
  std::vector<std::vector<Core>> by_node(static_cast<size_t>(topology.nodes));
  for (const Core& core : topology.cores) by_node[static_cast<size_t>(core.node)].push_back(core);
  std::vector<Core> chosen;
  for (size_t turn = 0; chosen.size() < count; ++turn) {
    for (const std::vector<Core>& node : by_node) {
      if (turn < node.size() && chosen.size() < count) chosen.push_back(node[turn]);
    }
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const Core& a, const Core& b) { return a.node < b.node; });
  return chosen;
}

}  // namespace

Topology ReadTopology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return {.cores = {Core{}}, .quota = {}};
  const OwnedTopology topology(raw);
  if (hwloc_topology_load(raw) != 0) return {.cores = {Core{}}, .quota = {}};
  const OwnedBitmap allowed(hwloc_bitmap_alloc());
  if (hwloc_get_cpubind(raw, allowed.get(), HWLOC_CPUBIND_THREAD) != 0) {
    hwloc_bitmap_copy(allowed.get(), hwloc_topology_get_allowed_cpuset(raw));
  }
  hwloc_bitmap_and(allowed.get(), allowed.get(), hwloc_topology_get_allowed_cpuset(raw));
  Topology result = CoresWithin(raw, allowed.get());
  result.whole_machine = result.cpus >= sysconf(_SC_NPROCESSORS_ONLN);
  result.quota = ReadCgroupLimits().cpus;
  return result;
}

std::vector<MemoryNode> ReadMemoryNodes() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return {MemoryNode{}};
  const OwnedTopology topology(raw);
  if (hwloc_topology_load(raw) != 0) return {MemoryNode{}};
  std::vector<MemoryNode> nodes;
  for (hwloc_obj_t node = nullptr;
       (node = hwloc_get_next_obj_by_type(raw, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    const int cores = hwloc_get_nbobjs_inside_cpuset_by_type(raw, node->cpuset, HWLOC_OBJ_CORE);
    nodes.push_back({static_cast<int>(node->os_index), cores, node->attr->numanode.local_memory});
  }
  return nodes.empty() ? std::vector{MemoryNode{}} : nodes;
}

Result<Topology> SyntheticTopology(const std::string& description) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return Error{"hwloc cannot describe a machine"};
  const OwnedTopology topology(raw);
  if (hwloc_topology_set_synthetic(raw, description.c_str()) != 0 ||
      hwloc_topology_load(raw) != 0) {
    return Error{"'" + description + "' describes no machine in hwloc's notation"};
  }
  return CoresWithin(raw, hwloc_topology_get_allowed_cpuset(raw));
}

Result<Pinning> ParsePinning(const std::string& name) {
  if (name == "auto") return Pinning::kAuto;
  if (name == "on") return Pinning::kOn;
  if (name == "off") return Pinning::kOff;
  return Error{"unknown pinning '" + name + "': choose auto, on or off"};
}

ThreadPlan PlanThreads(const Topology& topology, int threads, Pinning pinning, double load) {
  CHECK(threads >= 0 && !topology.cores.empty());
  const size_t cores = topology.cores.size();
  auto count = static_cast<size_t>(threads);
  if (threads == 0) {
    // A fraction of a processor is not worth a thread that would be stopped in turn.
    const double quota = topology.quota.value_or(static_cast<double>(cores));
    count = std::clamp<size_t>(static_cast<size_t>(std::max(1.0, quota)), 1, cores);
  }
  ThreadPlan plan{SpreadOverNodes(topology, std::min(count, cores)), false, {}};
  while (plan.threads.size() < count) {  // more threads than cores: where they run is open
    plan.threads.push_back(plan.threads.back());
  }
  if (count > cores) {
    plan.reason = "more threads than cores";
  } else if (pinning != Pinning::kAuto) {
    plan.pinned = pinning == Pinning::kOn;
    plan.reason = "as asked";
  } else if (!topology.whole_machine || topology.quota) {
    plan.reason = "only a part of the machine is this process's";
  } else if (load >= 0.5) {
    plan.reason = "the machine is busy with something else";
  } else {
    plan.pinned = true;
    plan.reason = "the machine is this process's alone";
  }
  return plan;
}

double LoadAverage() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0.0;
}

}  // namespace millrace
