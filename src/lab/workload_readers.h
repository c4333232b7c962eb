// The readers behind ParseWorkload, by form. Internal to lab/.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "lab/workload.h"

namespace millrace::lab_internal {

inline constexpr int64_t kMostRequestTokens = 100'000'000;  // more is a mistake

Status ReadOwnWorkload(std::string_view text, bool skip, Workload& workload);
Status ReadShareGpt(std::string_view text, bool skip, Workload& workload);
Status ReadSquad(std::string_view text, bool skip, Workload& workload);
Status ReadBurstGpt(std::string_view text, bool skip, Workload& workload);
Status ReadAzure(std::string_view text, bool skip, Workload& workload);

// `status` of one line or entry ("line 7"): where it is an error, either noted in workload.skipped
// (then the result is good) or returned with the line's name.
inline Status TakeLine(Status status, std::string_view what, int64_t number, bool skip,
                       Workload& workload) {
  if (status.ok()) return status;
  std::string message =
      fmt::format("{} {} of the workload: {}", what, number, status.error().message);
  if (!skip) {
    message += " (--skip-bad-lines leaves such out)";
    return Error{std::move(message)};
  }
  workload.skipped.push_back(std::move(message));
  return {};
}

// Calls `read(line, number)` with each line that is not empty, and its number from 1.
template <class Read>
Status ForEachWorkloadLine(std::string_view text, bool skip, Workload& workload, const Read& read) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == line.npos) continue;
    RETURN_IF_ERROR(TakeLine(read(line, number), "line", number, skip, workload));
  }
  return {};
}

}  // namespace millrace::lab_internal
