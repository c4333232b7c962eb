#include "server/request_context.h"

#include <algorithm>
#include <chrono>

#include "base/rng.h"
#include "openai_api/translated_chat.h"
#include "server/trace_context.h"

namespace millrace {

std::string_view NameOf(EndState state) {
  switch (state) {
    case EndState::kCompleted:
      return "completed";
    case EndState::kRefused:
      return "refused";
    case EndState::kCancelled:
      return "cancelled";
    case EndState::kFailed:
      return "failed";
  }
  return "unknown";
}

namespace server_internal {

std::string CacheSpace(const std::string& key, const std::string& salt) {
  if (key.empty() && salt.empty()) return {};
  return key + '\0' + salt;
}

bool IsBaseModel(const ServedModel& model, std::string_view name) {
  return name == model.id ||
         std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end();
}

std::optional<AdapterId> AdapterOf(const ServedModel& model, std::string_view name) {
  if (IsBaseModel(model, name)) return std::nullopt;
  const std::vector<AdapterInfo>& adapters = model.engine->info().adapters;
  for (size_t i = 0; i < adapters.size(); ++i) {
    const std::string_view own = adapters[i].name;
    const bool of_base = name.size() > own.size() && name.ends_with(own) &&
                         name[name.size() - own.size() - 1] == ':' &&
                         IsBaseModel(model, name.substr(0, name.size() - own.size() - 1));
    if (name == own || of_base) return AdapterId(static_cast<int32_t>(i));
  }
  return std::nullopt;
}

bool IsMessagesTarget(std::string_view target) { return target.starts_with("/v1/messages"); }

HttpResponse JsonResponse(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  response.body = std::move(body);
  response.headers.push_back({"X-Content-Type-Options", "nosniff"});
  return response;
}

HttpResponse ErrorResponse(const ApiError& error, Duration retry_after) {
  HttpResponse response = JsonResponse(error.status, ToJson(error));
  if (error.status == 503 || error.status == 429) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(retry_after).count();
    const int64_t stated = std::clamp<int64_t>(seconds, 1, 600);
    response.headers.push_back({"Retry-After", std::to_string(stated)});
  }
  if (error.status == 401) response.headers.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

RequestContext::RequestContext(std::shared_ptr<Shared> shared, const HttpRequest& request,
                               Responder responder)
    : shared_(std::move(shared)), responder_(std::move(responder)), arrival_(shared_->clock.Now()) {
  record_.id = fmt::format("req_{:016x}", shared_->config.random());
  record_.route = request.method + " " + request.path;
  if (shared_->config.record) {
    recorded_.emplace();
    recorded_->arrival_ms = 1000.0 * static_cast<double>(shared_->started_unix) +
                            Milliseconds(arrival_ - shared_->started);
    recorded_->route = record_.route;
    recorded_->body = request.body;
  }
  is_messages_ = IsMessagesTarget(request.path);
  api_key_ =
      shared_->config.keys.Find(request.Header("authorization"), request.Header("x-api-key"));
  if (const auto trace = ParseTraceParent(request.Header("traceparent").value_or(""))) {
    record_.trace_id = trace->trace_id;
    record_.parent_span_id = trace->parent_id;
  }
  if (api_key_ != nullptr) {
    key_ = api_key_->id;
    record_.key = api_key_->name;
  }
}

std::vector<HttpHeader> RequestContext::IdHeaders() const {
  std::vector<HttpHeader> headers = {{"x-request-id", record_.id}};
  if (is_messages_) headers.push_back({"request-id", record_.id});
  return headers;
}

RequestContext::~RequestContext() { Log(500, EndState::kFailed); }

HttpResponse RequestContext::ErrorOf(const ApiError& error) const {
  const Duration wait = error.retry_after ? std::chrono::seconds(*error.retry_after)
                                          : shared_->model.engine->RetryAfter();
  HttpResponse response = ErrorResponse(error, wait);
  if (is_messages_) response.body = MessagesErrorJson(error, record_.id);
  return response;
}

void RequestContext::KeepForRecord(const std::vector<TokenId>& prompt) {
  if (!recorded_) return;
  recorded_->prompt_tokens = static_cast<int64_t>(prompt.size());
  for (size_t at = 0; at < prompt.size(); at += kRecordedBlockTokens) {
    uint64_t hash = 0;
    for (size_t i = at; i < std::min(prompt.size(), at + kRecordedBlockTokens); ++i)
      hash = Mix64(hash ^ static_cast<uint64_t>(prompt[i].value));
    recorded_->blocks.push_back(static_cast<int64_t>(hash >> 1));  // not negative
  }
}

void RequestContext::Reply(HttpResponse response) {
  const int status = response.status;
  for (HttpHeader& header : IdHeaders()) response.headers.push_back(std::move(header));
  // First the log line: who has the answer finds it counted.
  Log(status, status < 400    ? EndState::kCompleted
              : status < 500  ? EndState::kRefused
              : status == 503 ? EndState::kRefused
                              : EndState::kFailed);
  responder_.Send(std::move(response));
}

ServedRequest RequestContext::ServedOf(const RequestRecord& record) const {
  const RequestRecord::GenerationPart& part = *record.generation;
  const Usage& usage = part.usage;
  return {.arrival_ms = Milliseconds(arrival_ - shared_->started),
          .total_ms = record.total_ms,
          .outside_ms =
              std::max(0.0, record.total_ms - usage.queued_ms - usage.prefill_ms - usage.decode_ms),
          .prompt_tokens = static_cast<int32_t>(usage.prompt_tokens),
          .cached_tokens = static_cast<int32_t>(usage.cached_tokens),
          .output_steps = static_cast<int32_t>(usage.completion_tokens - usage.accepted_tokens),
          .choices = part.choices,
          .max_tokens = part.max_tokens};
}

void RequestContext::Log(int status, EndState end,
                         std::optional<RequestRecord::GenerationPart> generation) {
  if (logged_.exchange(true)) return;
  RequestRecord record = record_;  // by other threads, record_ is read only
  record.status = status;
  record.end = end;
  record.total_ms = Milliseconds(SinceArrival());
  record.generation = std::move(generation);
  shared_->metrics.RequestLogged(end, record.generation ? record.generation->adapter : "");
  if (record.generation && end == EndState::kCompleted)
    shared_->insights.Add(shared_->clock.Now(), record.generation->usage, ServedOf(record));
  if (record.generation && shared_->recent.enabled()) {
    shared_->recent.Add({.id = record.id,
                         .end = std::string(NameOf(end)),
                         .status = status,
                         .arrival_ms = Milliseconds(arrival_ - shared_->started),
                         .total_ms = record.total_ms,
                         .first_token_ms = record.generation->first_token_ms,
                         .finish_reasons = record.generation->finish_reasons,
                         .usage = record.generation->usage});
  }
  if (recorded_ && recorded_->prompt_tokens > 0 && end == EndState::kCompleted) {
    recorded_->output_tokens = record.generation ? record.generation->usage.completion_tokens : 0;
    shared_->config.record(*recorded_);
  }
  if (shared_->config.log) shared_->config.log(record);
}

}  // namespace server_internal
}  // namespace millrace
