#include "lab/request_body.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/rng.h"
#include "lab/workload_passages.h"

namespace millrace {
namespace {

using BodyJson = nlohmann::ordered_json;

std::vector<int32_t> DrawnTokens(const WorkloadRequest& request, size_t position,
                                 std::span<const int32_t> plain) {
  CHECK(!plain.empty());
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < request.input_tokens; ++i) {
    const auto block = static_cast<size_t>(i / request.block_tokens);
    const bool shared = block < request.prefix_blocks.size();
    const uint64_t seed =
        shared ? static_cast<uint64_t>(request.prefix_blocks[block]) : 0x1000'0000'0000u + position;
    const uint64_t at =
        shared ? static_cast<uint64_t>(i % request.block_tokens) : static_cast<uint64_t>(i);
    tokens.push_back(plain[CounterRng(seed, at).NextU64() % plain.size()]);
  }
  return tokens;
}

}  // namespace

ReplayRequest ToReplayRequest(const WorkloadRequest& request, size_t position,
                              const BodyOptions& options) {
  ReplayRequest out;
  out.arrival_seconds = request.arrival_seconds;
  out.session = request.session;
  out.delay_seconds = request.delay_seconds;
  BodyJson body;
  if (!request.options.empty()) body = BodyJson::parse(request.options);
  if (!request.store.empty()) body["millrace"] = {{"store", request.store}};
  if (!request.messages.empty()) {
    out.path = "/v1/chat/completions";
    body["messages"] = BodyJson::parse(request.messages);
    if (!request.documents.empty()) body["documents"] = DocumentsJson(request);
  } else {
    out.path = "/v1/completions";
    if (!request.prompt.empty()) {
      body["prompt"] = PromptWithPassages(request);
    } else {
      body["prompt"] = DrawnTokens(request, position, options.plain_tokens);
    }
  }
  body["max_tokens"] = request.output_tokens > 0 ? request.output_tokens : options.max_tokens;
  if (!request.has_text()) body["ignore_eos"] = true;
  body["temperature"] = request.temperature;
  body["seed"] = 1;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  out.body = body.dump();
  return out;
}

std::vector<ReplayRequest> WarmUpRequests(size_t count, uint64_t seed) {
  std::vector<ReplayRequest> requests;
  for (size_t i = 0; i < count; ++i) {
    CounterRng rng(seed, i);
    WorkloadRequest request;
    for (int word = 0; word < 40; ++word)
      request.prompt += fmt::format("{:x} ", rng.NextU64() >> 40);
    request.output_tokens = 8;
    requests.push_back(ToReplayRequest(request, i, {}));
  }
  return requests;
}

}  // namespace millrace
