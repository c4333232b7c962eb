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

#include "lab/workload.h"

namespace millrace {
namespace {

struct RecordFile {
  std::mutex mutex;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{nullptr, std::fclose};
  bool failed = false;
};

}  // namespace

std::string TrafficLine(const RecordedTraffic& traffic, RecordedTexts texts) {
  const auto body = nlohmann::ordered_json::parse(traffic.body, nullptr, false);
  const auto text_of = [&](const char* name) -> std::string {
    const auto found = body.is_object() ? body.find(name) : body.end();
    return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  WorkloadRequest request;
  request.arrival_seconds = traffic.arrival_ms / 1000;
  request.input_tokens = static_cast<int32_t>(traffic.prompt_tokens);
  request.output_tokens = static_cast<int32_t>(traffic.output_tokens);
  request.session = text_of("prompt_cache_key");
  if (texts == RecordedTexts::kKept) {
    if (body.is_object() && body.contains("messages")) request.messages = body["messages"].dump();
    request.prompt = text_of("prompt");
  } else if (!request.session.empty()) {
    request.session = fmt::format("{:016x}", std::hash<std::string>()(request.session));
  }
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
