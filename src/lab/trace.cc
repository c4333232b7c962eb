#include "lab/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

namespace millrace {
namespace {

constexpr int64_t kMostTokens = 100'000'000;  // of a request: more is a mistake

Error BadLine(int64_t line, std::string_view what) {
  return Error{fmt::format("line {} of the trace: {}", line, what)};
}

// Calls `parse` with each line that is not empty and its number, from 1.
template <class Parse>
Status ForEachLine(std::string_view text, const Parse& parse) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    RETURN_IF_ERROR(parse(line, number));
  }
  return {};
}

template <class Number>
std::optional<Number> NumberOf(std::string_view text) {
  Number number{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Seconds since 1970 of "2023-11-16 18:15:46.6805900".
std::optional<double> SecondsOf(std::string_view text) {
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' || text[10] != ' ' || text[13] != ':' ||
      text[16] != ':') {
    return std::nullopt;
  }
  const auto year = NumberOf<int>(text.substr(0, 4));
  const auto month = NumberOf<unsigned>(text.substr(5, 2));
  const auto day = NumberOf<unsigned>(text.substr(8, 2));
  const auto hour = NumberOf<int>(text.substr(11, 2));
  const auto minute = NumberOf<int>(text.substr(14, 2));
  const auto second = NumberOf<double>(text.substr(17));
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(*month),
                                         std::chrono::day(*day)};
  if (!date.ok() || *hour < 0 || *hour > 23 || *minute < 0 || *minute > 59 ||
      !(*second >= 0 && *second < 61)) {
    return std::nullopt;
  }
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return static_cast<double>(days) * 86400 + *hour * 3600 + *minute * 60 + *second;
}

// Makes times count from the first; refuses one that lies before the one above it.
class Arrivals {
 public:
  std::optional<double> After(double seconds) {
    if (!first_) first_ = last_ = seconds;
    if (seconds < last_) return std::nullopt;
    last_ = seconds;
    return seconds - *first_;
  }

 private:
  std::optional<double> first_;
  double last_ = 0;
};

bool InRange(int64_t tokens, int64_t least) { return tokens >= least && tokens <= kMostTokens; }

// A field that must be there and whole; nothing where it is not.
std::optional<int64_t> IntegerOf(const nlohmann::json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_number_integer()) return std::nullopt;
  return field->get<int64_t>();
}

Result<TraceRequest> MooncakeLine(std::string_view text, int64_t number, Arrivals& arrivals) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return BadLine(number, "it is no JSON object");
  const auto timestamp = IntegerOf(json, "timestamp");
  const auto input = IntegerOf(json, "input_length");
  const auto output = IntegerOf(json, "output_length");
  if (!timestamp || !input || !output || !InRange(*input, 1) || !InRange(*output, 0)) {
    return BadLine(number,
                   "timestamp, input_length (at least 1) and output_length must be whole numbers");
  }
  const auto hashes = json.find("hash_ids");
  if (hashes == json.end() || !hashes->is_array()) {
    return BadLine(number, "hash_ids must be an array");
  }
  TraceRequest request;
  const auto arrival = arrivals.After(static_cast<double>(*timestamp) / 1000);
  if (!arrival) return BadLine(number, "its timestamp lies before the one above it");
  request.arrival_seconds = *arrival;
  request.input_tokens = static_cast<int32_t>(*input);
  request.output_tokens = static_cast<int32_t>(*output);
  for (const auto& hash : *hashes) {
    if (!hash.is_number_integer()) return BadLine(number, "hash_ids must hold whole numbers");
    request.prefix_blocks.push_back(hash.get<int64_t>());
  }
  const auto blocks = (*input + kTraceBlockTokens - 1) / kTraceBlockTokens;
  if (static_cast<int64_t>(request.prefix_blocks.size()) != blocks) {
    return BadLine(
        number, fmt::format("{} input tokens are {} blocks of {}, but it has {} hash_ids", *input,
                            blocks, kTraceBlockTokens, request.prefix_blocks.size()));
  }
  return request;
}

}  // namespace

Result<std::vector<TraceRequest>> ParseAzureTrace(std::string_view csv) {
  constexpr std::string_view kHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";
  std::vector<TraceRequest> requests;
  Arrivals arrivals;
  bool header = false;
  RETURN_IF_ERROR(ForEachLine(csv, [&](std::string_view line, int64_t number) -> Status {
    if (!std::exchange(header, true)) {
      if (line == kHeader) return {};
      return BadLine(number, fmt::format("the columns must be {}", kHeader));
    }
    const size_t first = line.find(',');
    const size_t second = first == line.npos ? line.npos : line.find(',', first + 1);
    if (second == line.npos) return BadLine(number, "it must have three columns");
    const auto seconds = SecondsOf(line.substr(0, first));
    if (!seconds) return BadLine(number, "the time must be like 2023-11-16 18:15:46.680");
    const auto input = NumberOf<int64_t>(line.substr(first + 1, second - first - 1));
    const auto output = NumberOf<int64_t>(line.substr(second + 1));
    if (!input || !output || !InRange(*input, 1) || !InRange(*output, 0)) {
      return BadLine(number,
                     "ContextTokens (at least 1) and GeneratedTokens must be whole numbers");
    }
    const auto arrival = arrivals.After(*seconds);
    if (!arrival) return BadLine(number, "its time lies before the one above it");
    requests.push_back({*arrival, static_cast<int32_t>(*input), static_cast<int32_t>(*output), {}});
    return {};
  }));
  if (requests.empty()) return Error{"the trace holds no requests"};
  return requests;
}

Result<std::vector<TraceRequest>> ParseMooncakeTrace(std::string_view jsonl) {
  std::vector<TraceRequest> requests;
  Arrivals arrivals;
  RETURN_IF_ERROR(ForEachLine(jsonl, [&](std::string_view line, int64_t number) -> Status {
    ASSIGN_OR_RETURN(TraceRequest request, MooncakeLine(line, number, arrivals));
    requests.push_back(std::move(request));
    return {};
  }));
  if (requests.empty()) return Error{"the trace holds no requests"};
  return requests;
}

}  // namespace millrace
