// Traces of lengths in CSV: BurstGPT (Wang et al. 2024) and Azure (lab/trace.h).
#include <charconv>
#include <optional>

#include "lab/trace.h"
#include "lab/workload_readers.h"

namespace millrace::lab_internal {
namespace {

std::vector<std::string_view> Columns(std::string_view line) {
  std::vector<std::string_view> columns;
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find(',', at), line.size());
    columns.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return columns;
}

template <class Number>
std::optional<Number> ColumnNumber(const std::vector<std::string_view>& columns,
                                   std::optional<size_t> at) {
  if (!at || *at >= columns.size()) return std::nullopt;
  const std::string_view text = columns[*at];
  Number number{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

struct BurstColumns {
  std::optional<size_t> time, input, output, session;
};

Result<BurstColumns> FindColumns(std::string_view header) {
  BurstColumns found;
  const auto columns = Columns(header);
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == "Timestamp") found.time = i;
    if (columns[i] == "Request tokens") found.input = i;
    if (columns[i] == "Response tokens") found.output = i;
    if (columns[i] == "Session ID") found.session = i;
  }
  if (!found.time || !found.input || !found.output)
    return Error{"the columns must include Timestamp, Request tokens and Response tokens"};
  return found;
}

}  // namespace

// Requests without a response (0 response tokens) failed when the trace was taken; they stay.
Status ReadBurstGpt(std::string_view text, bool skip, Workload& workload) {
  const size_t header_end = std::min(text.find('\n'), text.size());
  std::string_view header = text.substr(0, header_end);
  if (header.ends_with('\r')) header.remove_suffix(1);
  ASSIGN_OR_RETURN(const BurstColumns at, FindColumns(header));
  workload.timed = true;
  return ForEachWorkloadLine(
      text, skip, workload, [&](std::string_view line, int64_t number) -> Status {
        if (number == 1) return {};
        const auto columns = Columns(line);
        const auto time = ColumnNumber<double>(columns, at.time);
        const auto input = ColumnNumber<int64_t>(columns, at.input);
        const auto output = ColumnNumber<int64_t>(columns, at.output);
        if (!time || !input || !output || *input < 1 || *input > kMostRequestTokens ||
            *output < 0 || *output > kMostRequestTokens) {
          return Error{
              "Timestamp (seconds), Request tokens (at least 1) and Response tokens must be "
              "numbers"};
        }
        WorkloadRequest request;
        request.arrival_seconds = *time;
        request.input_tokens = static_cast<int32_t>(*input);
        request.output_tokens = static_cast<int32_t>(*output);
        if (at.session && *at.session < columns.size()) request.session = columns[*at.session];
        workload.requests.push_back(std::move(request));
        return {};
      });
}

Status ReadAzure(std::string_view text, bool skip, Workload& workload) {
  const size_t header_end = std::min(text.find('\n'), text.size());
  const std::string header(text.substr(0, header_end));
  workload.timed = true;
  if (!skip) {
    ASSIGN_OR_RETURN(const auto trace, ParseAzureTrace(text));
    for (const TraceRequest& r : trace) {
      WorkloadRequest request;
      request.arrival_seconds = r.arrival_seconds;
      request.input_tokens = r.input_tokens;
      request.output_tokens = r.output_tokens;
      workload.requests.push_back(std::move(request));
    }
    return {};
  }
  // Line by line against the line that was last good, so that a bad one costs itself only.
  std::string last;
  double elapsed = 0;
  return ForEachWorkloadLine(
      text, skip, workload, [&](std::string_view line, int64_t number) -> Status {
        if (number == 1) return {};
        const std::string own(line);
        ASSIGN_OR_RETURN(const auto trace,
                         ParseAzureTrace(header + '\n' + (last.empty() ? own : last) + '\n' + own));
        WorkloadRequest request;
        request.arrival_seconds = elapsed += trace[1].arrival_seconds;
        request.input_tokens = trace[1].input_tokens;
        request.output_tokens = trace[1].output_tokens;
        workload.requests.push_back(std::move(request));
        last = own;
        return {};
      });
}

}  // namespace millrace::lab_internal
