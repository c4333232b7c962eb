#include "traffic_record.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "lab/workload.h"
#include "openai_api/translated_chat.h"

namespace millrace {
namespace {

struct RecordFile {
  std::mutex mutex;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{nullptr, std::fclose};
  bool failed = false;
};

// As a chat or a completion has it.
nlohmann::ordered_json BodyOf(const RecordedTraffic& traffic) {
  auto chat = ApiResult<std::string>(traffic.body);
  if (traffic.route == "POST /v1/messages") chat = MessagesAsChat(traffic.body);
  if (traffic.route == "POST /v1/responses") chat = ResponsesAsChat(traffic.body);
  const auto* body = std::get_if<std::string>(&chat);
  return nlohmann::ordered_json::parse(body != nullptr ? *body : traffic.body, nullptr, false);
}

// What a workload reads of a body in a log.
WorkloadRequest RequestOf(const RecordedTraffic& traffic) {
  nlohmann::ordered_json line = {{"input_length", 1}, {"body", BodyOf(traffic)}};
  if (!line["body"].is_object()) return {};
  const auto read = [&] { return ParseWorkload(line.dump(), {.format = "openai"}); };
  if (auto workload = read(); workload.ok()) return workload->requests[0];
  line["body"].erase("prompt");  // token ids, or several
  line["body"].erase("messages");
  auto workload = read();
  return workload.ok() ? workload->requests[0] : WorkloadRequest();
}

}  // namespace

std::string TrafficLine(const RecordedTraffic& traffic, RecordedTexts texts) {
  WorkloadRequest request = RequestOf(traffic);
  if (texts == RecordedTexts::kDropped) {
    const std::string session = std::exchange(request, {}).session;
    if (!session.empty()) {
      request.session = fmt::format("{:016x}", std::hash<std::string>()(session));
    }
  }
  request.arrival_seconds = traffic.arrival_ms / 1000;
  request.input_tokens = static_cast<int32_t>(traffic.prompt_tokens);
  request.output_tokens = static_cast<int32_t>(traffic.output_tokens);
  if (!request.has_text()) {  // a prompt of token ids, or texts dropped
    request.prefix_blocks = traffic.blocks;
    request.block_tokens = kRecordedBlockTokens;
  }
  return ToWorkloadLine(request);
}

Result<std::function<void(const RecordedTraffic&)>> OpenTrafficRecord(const std::string& path,
                                                                      RecordedTexts texts) {
  auto record = std::make_shared<RecordFile>();
  record->file.reset(std::fopen(path.c_str(), "ae"));
  if (!record->file) {
    return Error{"cannot record to " + path + ": " + std::strerror(errno), ErrorKind::kIo};
  }
  return std::function<void(const RecordedTraffic&)>(
      [record, texts, path](const RecordedTraffic& traffic) {
        const std::string line = TrafficLine(traffic, texts) + "\n";
        std::lock_guard lock(record->mutex);
        const bool written =
            std::fwrite(line.data(), 1, line.size(), record->file.get()) == line.size() &&
            std::fflush(record->file.get()) == 0;
        if (!written && !std::exchange(record->failed, true))
          spdlog::warn("cannot record to {}: {}", path, std::strerror(errno));
      });
}

}  // namespace millrace
