#include "base/cgroup.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace millrace {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A number at the beginning of a file; none where there is no such file, or it says "max" or -1.
std::optional<uint64_t> NumberIn(const std::string& path) {
  const std::string line = FirstLine(path);
  if (line.empty() || line[0] < '0' || line[0] > '9') return std::nullopt;
  return std::strtoull(line.c_str(), nullptr, 10);
}

// The value after `key` in a file of "key value" lines.
uint64_t FieldOf(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string name, value; file >> name && std::getline(file, value);) {
    if (name == key) return std::strtoull(value.c_str(), nullptr, 10);
  }
  return 0;
}

// The group of this process under a controller ("": version 2), such as "/user.slice/x"; empty
// where /proc names none.
std::string GroupOf(const std::string& root, const std::string& controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers.find("," + controller + ",") != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return {};
}

template <class T>
void Tighten(std::optional<T>& limit, T value) {
  limit = limit ? std::min(*limit, value) : value;
}

// The files of one group; those that do not exist limit nothing.
void TightenByGroup(const std::string& folder, CgroupLimits& limits) {
  const std::string cpu = FirstLine(folder + "/cpu.max");  // "QUOTA PERIOD" in microseconds
  if (!cpu.empty() && cpu[0] >= '0' && cpu[0] <= '9') {
    char* rest = nullptr;
    const double quota = std::strtod(cpu.c_str(), &rest);
    const double period = std::strtod(rest, nullptr);
    if (period > 0) Tighten(limits.cpus, quota / period);
  }
  const auto quota = NumberIn(folder + "/cpu.cfs_quota_us");
  const auto period = NumberIn(folder + "/cpu.cfs_period_us");
  if (quota && period && *period > 0) {
    Tighten(limits.cpus, static_cast<double>(*quota) / static_cast<double>(*period));
  }
  const std::pair<const char*, const char*> kMemory[] = {
      {"/memory.max", "/memory.current"}, {"/memory.limit_in_bytes", "/memory.usage_in_bytes"}};
  for (const auto& [most, used] : kMemory) {
    const auto limit = NumberIn(folder + most);
    if (!limit) continue;
    const uint64_t in_use = NumberIn(folder + used).value_or(0);
    const uint64_t droppable = FieldOf(folder + "/memory.stat", "inactive_file");
    const uint64_t held = in_use - std::min(in_use, droppable);
    Tighten(limits.memory_left, *limit - std::min(*limit, held));
  }
}

}  // namespace

CgroupLimits ReadCgroupLimits(const std::string& root) {
  CgroupLimits limits;
  const std::pair<const char*, const char*> kHierarchies[] = {
      {"", ""}, {"cpu", "/cpu"}, {"memory", "/memory"}};
  for (const auto& [controller, mount] : kHierarchies) {
    std::string group = GroupOf(root, controller);
    if (group == "/") group.clear();
    // From the group up to the root; within a container the root is the container's own group.
    while (true) {
      TightenByGroup(root + "/sys/fs/cgroup" + mount + group, limits);
      if (group.empty()) break;
      group.erase(std::min(group.rfind('/'), group.size()));
    }
  }
  return limits;
}

uint64_t AvailableMemory(const std::string& root) {
  const uint64_t kib = FieldOf(root + "/proc/meminfo", "MemAvailable:");
  const uint64_t machine = kib > 0 ? kib * 1024 : uint64_t{4} << 30;
  return std::min(machine, ReadCgroupLimits(root).memory_left.value_or(machine));
}

}  // namespace millrace
