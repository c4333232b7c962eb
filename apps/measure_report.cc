#include "measure_report.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <filesystem>
#include <span>
#include <thread>

#include "base/atomic_file.h"
#include "base/topology.h"
#include "reporting.h"

namespace millrace {
namespace {

void PrintTable(const std::vector<Finding>& findings, bool claimed) {
  for (const Finding& f : findings) {
    fmt::print("  {}\n", f.subject);
    for (const MetricFinding& m : f.metrics) {
      fmt::print("    {:<12} {:>10} ({} to {}){}\n", m.metric, Percent(m.effect.ratio),
                 Percent(m.effect.interval.low), Percent(m.effect.interval.high),
                 claimed ? fmt::format("  {}", NameOf(m.verdict)) : "");
    }
    if (f.failures > 0) fmt::print("    {} requests failed\n", f.failures);
    if (f.answers.differing > 0) {
      fmt::print("    {} of {} answers differ{}\n", f.answers.differing, f.answers.answers,
                 f.answers.promised_equal ? ", though the same were promised" : "");
    }
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> DescribeMachine() {
  std::string processor = "unknown";
  if (const auto info = ReadFile("/proc/cpuinfo"); info.ok()) {
    const size_t at = info->find("model name");
    const size_t colon = info->find(": ", std::min(at, info->size()));
    if (at != std::string::npos && colon != std::string::npos)
      processor = info->substr(colon + 2, info->find('\n', colon) - colon - 2);
  }
  std::string memory = "unknown";
  if (const auto info = ReadFile("/proc/meminfo"); info.ok())
    memory = fmt::format("{} MiB", std::atoll(info->c_str() + info->find(':') + 1) / 1024);
  utsname system{};
  ::uname(&system);
  return {{"processor", processor},
          {"hardware threads", std::to_string(std::thread::hardware_concurrency())},
          {"memory", memory},
          {"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
          {"millrace", MILLRACE_VERSION}};
}

Status WriteReport(const std::string& folder, const ReportInput& input) {
  const auto write = [&](const char* name, const std::string& text) -> Status {
    return WriteAtomically((std::filesystem::path(folder) / name).string(), text);
  };
  RETURN_IF_ERROR(write("report.html", ReportHtml(input)));
  RETURN_IF_ERROR(write("report.json", ReportJson(input)));
  RETURN_IF_ERROR(write("runs.csv", ReportCsv(input.result.state)));
  if (!input.recommended_toml.empty())
    RETURN_IF_ERROR(write("recommended.toml", input.recommended_toml));
  return {};
}

void PrintFindings(const Analysis& a) {
  fmt::print("\neverything on against everything on but one{}\n",
             a.confirmed ? "" : " (a first look: these figures rank, and claim nothing)");
  PrintTable(a.switches, a.confirmed);
  fmt::print("candidates against the baseline (everything off)\n");
  PrintTable(a.candidates, a.confirmed);
  if (!a.handicaps.empty()) {
    fmt::print("slowed on purpose, against all on\n");
    PrintTable(a.handicaps, a.confirmed);
  }
  fmt::print("the baseline against itself: {}\n", a.same_is_null ? "null" : "NOT null");
  PrintTable({a.same}, true);
  fmt::print("deviation between rounds {:.1f} %; an effect of {:.1f} % would be found\n",
             100 * a.deviation, 100 * a.detectable);
  fmt::print("recommended: {}\n", a.recommendation.configuration.empty()
                                      ? "nothing"
                                      : a.recommendation.configuration.c_str());
  for (const std::string& reason : a.recommendation.reasons) fmt::print("  {}\n", reason);
}

}  // namespace millrace
