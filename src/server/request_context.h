// What the parts of the server share about itself and about one request. Internal to server/.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/responder.h"
#include "openai_api/api_error.h"
#include "prompt_reduction/reuse_order.h"
#include "prompt_reduction/vector_model.h"
#include "server/estimates.h"
#include "server/insights.h"
#include "server/key_load.h"
#include "server/metrics.h"
#include "server/output_grammars.h"
#include "server/recent_requests.h"
#include "server/request_names.h"
#include "server/server.h"
#include "server/worker_pool.h"

namespace millrace::server_internal {

// By their ids.
inline std::vector<std::string> AdapterNames(const ServedModel& model) {
  std::vector<std::string> names;
  for (const AdapterInfo& adapter : model.engine->info().adapters) names.push_back(adapter.name);
  return names;
}

struct Shared {
  Shared(ServerConfig server_config, ServedModel served_model)
      : config(std::move(server_config)),
        model(std::move(served_model)),
        metrics(model.id, config.metric_names, config.dashboard.has_value(), AdapterNames(model)),
        names(config.debug_endpoints || config.dashboard.has_value()),
        recent(config.dashboard.has_value()) {}

  ServerConfig config;
  ServedModel model;
  Clock clock = Clock();
  TimePoint started = clock.Now();
  int64_t started_unix = 0;
  std::atomic<bool> ready{false};
  std::atomic<int> generations{0};     // under way
  std::optional<VectorModel> vectors;  // the embedding model's, for stores; set by Start
  KeyLoad load;
  Metrics metrics;
  RequestNames names;
  RecentRequests recent;
  std::mutex probing;  // attention is measured once at a time
  OutputGrammars grammars;
  Insights insights{started};
  Estimates estimates;
  ReuseOrder reuse;                      // of passages in prompts
  std::weak_ptr<WorkerPool> formatters;  // set once, before the first request
};

// The namespace of the prefix cache: nobody sees another key's or salt's blocks. A key holds no
// zero.
std::string CacheSpace(const std::string& key, const std::string& salt);

// Whether `name` is the served model's id or one of its aliases.
bool IsBaseModel(const ServedModel& model, std::string_view name);
// The adapter that `name` asks for: "NAME", or "MODEL:NAME" of the served model; none where the
// base model has that name or nothing has.
std::optional<AdapterId> AdapterOf(const ServedModel& model, std::string_view name);

// Whether a path, or a target that begins with it, is of Anthropic's interface.
bool IsMessagesTarget(std::string_view target);

HttpResponse JsonResponse(int status, std::string body);
// `retry_after`: what a 429 or 503 tells the client, in whole seconds of 1 to 600.
HttpResponse ErrorResponse(const ApiError& error, Duration retry_after = std::chrono::seconds(1));

// One request's answer and its log line. Invariant: Log writes once, whoever comes first; a
// RequestContext that dies without one is logged as failed.
class RequestContext {
 public:
  RequestContext(std::shared_ptr<Shared> shared, const HttpRequest& request, Responder responder);
  ~RequestContext();
  RequestContext(const RequestContext&) = delete;
  RequestContext& operator=(const RequestContext&) = delete;

  const Shared& shared() const { return *shared_; }
  Shared& shared() { return *shared_; }
  KeyLoad& load() { return shared_->load; }
  Metrics& metrics() { return shared_->metrics; }
  RequestNames& names() { return shared_->names; }
  std::mutex& probing() { return shared_->probing; }
  OutputGrammars& grammars() { return shared_->grammars; }
  ReuseOrder& reuse() { return shared_->reuse; }
  std::atomic<int>& generations() { return shared_->generations; }
  Duration SinceArrival() const { return shared_->clock.Now() - arrival_; }
  const std::string& id() const { return record_.id; }
  const Responder& responder() const { return responder_; }
  // The key that was sent; none where it is missing or unknown, and on a server without keys.
  const ApiKey* api_key() const { return api_key_; }
  // Who asks, for what must be kept apart; empty on a server without keys.
  const std::string& key() const { return key_; }
  // Of every answer: its id, under the names that clients look for.
  std::vector<HttpHeader> IdHeaders() const;

  // Keeps what is recorded of a generation, where the server records; before Log.
  void KeepForRecord(const std::vector<TokenId>& prompt);
  // A whole answer, with the id header, and the log line.
  void Reply(HttpResponse response);
  void Refuse(const ApiError& error) { Reply(ErrorOf(error)); }
  // The answer to a refusal: one for want of room says when to come back, by the engine's pace.
  HttpResponse ErrorOf(const ApiError& error) const;
  // The log line, which is counted in the metrics.
  void Log(int status, EndState end,
           std::optional<RequestRecord::GenerationPart> generation = std::nullopt);

 private:
  ServedRequest ServedOf(const RequestRecord& record) const;

  std::shared_ptr<Shared> shared_;
  Responder responder_;
  RequestRecord record_;
  const ApiKey* api_key_ = nullptr;
  std::string key_;
  bool is_messages_ = false;                 // Anthropic's interface, with its shape of errors
  std::optional<RecordedTraffic> recorded_;  // its body from the start
  TimePoint arrival_;
  std::atomic<bool> logged_{false};
};

using ContextPointer = std::shared_ptr<RequestContext>;

}  // namespace millrace::server_internal
