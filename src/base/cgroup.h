// What the control groups of this process allow it: a container's limits, versions 1 and 2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace millrace {

struct CgroupLimits {
  std::optional<double> cpus;           // processors' worth of time
  std::optional<uint64_t> memory_left;  // bytes, counting what the kernel can drop of files' pages
};

// The tightest of the group and those above it. `root` stands before /proc and /sys, for tests.
CgroupLimits ReadCgroupLimits(const std::string& root = {});

// Memory that can be had without swapping: what the kernel says (4 GiB where it does not), within
// the limits above.
uint64_t AvailableMemory(const std::string& root = {});

}  // namespace millrace
