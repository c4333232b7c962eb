#include "base/topology.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/cgroup.h"

namespace millrace {
namespace {

Topology Make(const std::string& description) {
  auto topology = SyntheticTopology(description);
  EXPECT_TRUE(topology.ok()) << description;
  return topology.ok() ? *topology : Topology{};
}

TEST(Topology, MemoryNodesHoldTheMachine) {
  uint64_t bytes = 0;
  int cores = 0;
  for (const MemoryNode& node : ReadMemoryNodes()) {
    bytes += node.bytes;
    cores += node.cores;
  }
  EXPECT_GE(cores, static_cast<int>(ReadTopology().cores.size()));
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  const auto machine = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  EXPECT_NEAR(static_cast<double>(bytes), static_cast<double>(machine),
              0.1 * static_cast<double>(machine));
}

TEST(Topology, SyntheticMachines) {
  const Topology laptop = Make("numa:1 core:4 pu:2");
  EXPECT_EQ(laptop.cores.size(), 4u);
  EXPECT_EQ(laptop.cpus, 8);
  EXPECT_EQ(laptop.nodes, 1);
  const Topology server = Make("numa:2 core:64 pu:2");
  EXPECT_EQ(server.cores.size(), 128u);
  EXPECT_EQ(server.cpus, 256);
  EXPECT_EQ(server.nodes, 2);
  EXPECT_FALSE(SyntheticTopology("three cores, please").ok());
}

TEST(Topology, ThisMachineHasACore) {
  const Topology here = ReadTopology();
  EXPECT_GE(here.cores.size(), 1u);
  EXPECT_GE(here.cpus, static_cast<int>(here.cores.size()));
  EXPECT_GE(here.nodes, 1);
}

// One thread per physical core, each on a core of its own, nodes together and evenly filled.
TEST(ThreadPlan, OneThreadPerCoreFrom1To128) {
  for (const int nodes : {1, 2, 4}) {
    for (const int cores : {1, 2, 3, 8, 32}) {
      const Topology machine =
          Make("numa:" + std::to_string(nodes) + " core:" + std::to_string(cores) + " pu:2");
      const ThreadPlan plan = PlanThreads(machine, 0, Pinning::kOn, 0);
      ASSERT_EQ(plan.threads.size(), static_cast<size_t>(nodes * cores));
      EXPECT_TRUE(plan.pinned);
      EXPECT_EQ(plan.nodes(), nodes);
      std::set<int> cpus;
      std::vector<int> per_node(static_cast<size_t>(nodes));
      for (size_t t = 0; t < plan.threads.size(); ++t) {
        cpus.insert(plan.threads[t].cpu);
        ++per_node[static_cast<size_t>(plan.threads[t].node)];
        EXPECT_TRUE(t == 0 || plan.threads[t - 1].node <= plan.threads[t].node);
      }
      EXPECT_EQ(cpus.size(), plan.threads.size());
      for (const int count : per_node) EXPECT_EQ(count, cores);
    }
  }
}

TEST(ThreadPlan, FewerThreadsAreSpreadOverTheNodes) {
  const ThreadPlan plan = PlanThreads(Make("numa:2 core:16 pu:1"), 6, Pinning::kOn, 0);
  std::vector<int> nodes;
  for (const Core& core : plan.threads) nodes.push_back(core.node);
  EXPECT_EQ(nodes, (std::vector<int>{0, 0, 0, 1, 1, 1}));
}

TEST(ThreadPlan, MoreThreadsThanCoresAreNotPinned) {
  const ThreadPlan plan = PlanThreads(Make("numa:1 core:2 pu:2"), 5, Pinning::kOn, 0);
  EXPECT_EQ(plan.threads.size(), 5u);
  EXPECT_FALSE(plan.pinned);
}

TEST(ThreadPlan, AQuotaBoundsTheDefaultOnly) {
  Topology machine = Make("numa:1 core:8 pu:1");
  machine.quota = 2.5;
  EXPECT_EQ(PlanThreads(machine, 0, Pinning::kAuto, 0).threads.size(), 2u);
  EXPECT_EQ(PlanThreads(machine, 4, Pinning::kAuto, 0).threads.size(), 4u);
  machine.quota = 0.5;
  EXPECT_EQ(PlanThreads(machine, 0, Pinning::kAuto, 0).threads.size(), 1u);
}

TEST(ThreadPlan, PinsByItselfOnlyOnAMachineOfItsOwn) {
  Topology machine = Make("numa:1 core:4 pu:1");
  EXPECT_TRUE(PlanThreads(machine, 0, Pinning::kAuto, 0.1).pinned);
  EXPECT_FALSE(PlanThreads(machine, 0, Pinning::kAuto, 1.7).pinned);
  EXPECT_FALSE(PlanThreads(machine, 0, Pinning::kOff, 0.1).pinned);
  machine.whole_machine = false;
  EXPECT_FALSE(PlanThreads(machine, 0, Pinning::kAuto, 0.1).pinned);
  machine.whole_machine = true;
  machine.quota = 3;
  EXPECT_FALSE(PlanThreads(machine, 0, Pinning::kAuto, 0.1).pinned);
}

TEST(Pinning, Names) {
  EXPECT_EQ(*ParsePinning("auto"), Pinning::kAuto);
  EXPECT_EQ(ParsePinning("maybe").error().message,
            "unknown pinning 'maybe': choose auto, on or off");
}

// A folder with files of /proc and /sys, removed at the end.
class FakeRoot {
 public:
  FakeRoot() : path_(std::filesystem::temp_directory_path() / "millrace_root_XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  void Write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path_ + file).parent_path());
    std::ofstream(path_ + file) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Cgroup, NoFilesLimitNothing) {
  const FakeRoot root;
  EXPECT_FALSE(ReadCgroupLimits(root.path()).cpus.has_value());
  EXPECT_FALSE(ReadCgroupLimits(root.path()).memory_left.has_value());
  EXPECT_EQ(AvailableMemory(root.path()), uint64_t{4} << 30);
}

TEST(Cgroup, Version2TakesTheTightestGroupAbove) {
  const FakeRoot root;
  root.Write("/proc/self/cgroup", "0::/pod/container\n");
  root.Write("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable:    9000000 kB\n");
  root.Write("/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  root.Write("/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
  root.Write("/sys/fs/cgroup/pod/container/memory.max", "2000000\n");
  root.Write("/sys/fs/cgroup/pod/container/memory.current", "1500000\n");
  root.Write("/sys/fs/cgroup/pod/container/memory.stat", "anon 5\ninactive_file 400000\n");
  root.Write("/sys/fs/cgroup/pod/memory.max", "max\n");
  const CgroupLimits limits = ReadCgroupLimits(root.path());
  EXPECT_DOUBLE_EQ(limits.cpus.value_or(0), 2.5);
  EXPECT_EQ(limits.memory_left.value_or(0), 900000u);
  EXPECT_EQ(AvailableMemory(root.path()), 900000u);
}

TEST(Cgroup, Version1) {
  const FakeRoot root;
  root.Write("/proc/self/cgroup", "7:memory:/a\n3:cpu,cpuacct:/b\n");
  root.Write("/sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", "150000\n");
  root.Write("/sys/fs/cgroup/cpu/b/cpu.cfs_period_us", "100000\n");
  root.Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  root.Write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000\n");
  root.Write("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "7000\n");
  const CgroupLimits limits = ReadCgroupLimits(root.path());
  EXPECT_DOUBLE_EQ(limits.cpus.value_or(0), 1.5);
  EXPECT_EQ(limits.memory_left.value_or(1), 0u);  // over its limit: nothing is left
}

}  // namespace
}  // namespace millrace
