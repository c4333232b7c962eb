#include "lab/workload.h"

#include <nlohmann/json.hpp>

#include "lab/workload_passages.h"
#include "lab/workload_readers.h"

namespace millrace {
namespace {

using lab_internal::ReadAzure;
using lab_internal::ReadBurstGpt;
using lab_internal::ReadOwnWorkload;
using lab_internal::ReadShareGpt;
using lab_internal::ReadSquad;

struct Reader {
  const char* format;
  Status (*read)(std::string_view, bool skip, Workload&);
};
constexpr Reader kReaders[] = {{"millrace", ReadOwnWorkload}, {"openai", ReadOwnWorkload},
                               {"mooncake", ReadOwnWorkload}, {"sharegpt", ReadShareGpt},
                               {"squad", ReadSquad},          {"burstgpt", ReadBurstGpt},
                               {"azure", ReadAzure}};

// The form that a file's beginning shows.
std::string Recognised(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return "millrace";
  const std::string_view line =
      text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin);
  if (line.starts_with("TIMESTAMP,")) return "azure";
  if (line.starts_with("Timestamp,")) return "burstgpt";
  if (line.starts_with('[')) return "sharegpt";
  const auto first = nlohmann::json::parse(line, nullptr, false);
  if (first.is_discarded() || (first.is_object() && first.contains("data"))) {
    // A document over several lines; only SQuAD's is an object.
    if (text.find("\"paragraphs\"") != text.npos) return "squad";
    return "millrace";
  }
  if (first.is_object() && first.contains("hash_ids") && !first.contains("messages"))
    return "mooncake";
  if (first.is_object() && (first.contains("body") || first.contains("request"))) return "openai";
  return "millrace";
}

Status PutInOrder(Workload& workload) {
  std::stable_sort(workload.requests.begin(), workload.requests.end(),
                   [](const WorkloadRequest& a, const WorkloadRequest& b) {
                     return a.arrival_seconds < b.arrival_seconds;
                   });
  if (workload.requests.empty()) return Error{"the workload holds no requests"};
  const double first = workload.requests.front().arrival_seconds;
  for (WorkloadRequest& r : workload.requests) r.arrival_seconds -= first;
  return {};
}

}  // namespace

const std::vector<std::string>& WorkloadFormats() {
  static const std::vector<std::string> formats = [] {
    std::vector<std::string> names;
    for (const Reader& reader : kReaders) names.emplace_back(reader.format);
    return names;
  }();
  return formats;
}

Result<Workload> ParseWorkload(std::string_view text, const WorkloadOptions& options) {
  Workload workload;
  workload.format = options.format.empty() ? Recognised(text) : options.format;
  for (const Reader& reader : kReaders) {
    if (workload.format != reader.format) continue;
    RETURN_IF_ERROR(reader.read(text, options.skip_bad_lines, workload));
    RETURN_IF_ERROR(PutInOrder(workload));
    return workload;
  }
  return Error{fmt::format("unknown workload format '{}': choose {}", options.format,
                           fmt::join(WorkloadFormats(), ", "))};
}

std::string ToWorkloadLine(const WorkloadRequest& r) {
  nlohmann::ordered_json line;
  line["timestamp"] = static_cast<int64_t>(r.arrival_seconds * 1000 + 0.5);
  if (!r.messages.empty()) line["messages"] = nlohmann::ordered_json::parse(r.messages);
  if (!r.prompt.empty()) line["prompt"] = r.prompt;
  if (r.input_tokens > 0) line["input_length"] = r.input_tokens;
  if (r.output_tokens > 0) line["output_length"] = r.output_tokens;
  if (!r.prefix_blocks.empty()) {
    line["hash_ids"] = r.prefix_blocks;
    if (r.block_tokens != 512) line["hash_block"] = r.block_tokens;
  }
  if (!r.session.empty()) line["session_id"] = r.session;
  if (!r.group.empty()) line["group"] = r.group;
  if (r.delay_seconds > 0) line["delay"] = static_cast<int64_t>(r.delay_seconds * 1000 + 0.5);
  if (!r.documents.empty()) line["documents"] = DocumentsJson(r);
  if (!r.store.empty()) line["store"] = r.store;
  if (r.temperature > 0) line["temperature"] = r.temperature;
  if (!r.options.empty()) line["options"] = nlohmann::ordered_json::parse(r.options);
  if (!r.expected.empty()) line["expected"] = nlohmann::ordered_json::parse(r.expected);
  if (!r.answer.empty()) line["answer"] = r.answer;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace millrace
