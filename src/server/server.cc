#include "server/server.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <thread>
#include <utility>

#include "embedding/vector_model.h"
#include "http/router.h"
#include "openai_api/openapi.h"
#include "openai_api/translated_chat.h"
#include "server/dashboard.h"
#include "server/debug_endpoints.h"
#include "server/embedding_routes.h"
#include "server/host_check.h"
#include "server/insights_route.h"
#include "server/live_feed.h"
#include "server/request_context.h"
#include "server/store_access.h"
#include "server/store_routes.h"
#include "server/text_endpoints.h"
#include "server/worker_pool.h"

namespace millrace {

using namespace server_internal;

namespace {

using Work = std::function<void(const ContextPointer&, const HttpRequest&)>;

constexpr char kFrontPage[] =
    "<!doctype html><meta charset=\"utf-8\"><title>Millrace</title>"
    "<h1>Millrace</h1><p>An LLM inference server that speaks the OpenAI API: point a client at "
    "<code>/v1</code>. <a href=\"/v1/models\">Models</a>, <a href=\"/version\">version</a>, "
    "<a href=\"/health/ready\">health</a>.</p>";

// What HTTP itself refuses, in the shape of the interface that was asked.
HttpResponse RefusalOf(int status, std::string_view text, std::string_view target) {
  const ApiError error = HttpApiError(status, text);
  HttpResponse response = ErrorResponse(error);
  if (IsMessagesTarget(target)) response.body = MessagesErrorJson(error, "");
  return response;
}

void HandleTokenize(const ContextPointer& context, const HttpRequest& request) {
  const auto parsed = ParseTokenizeRequest(request.body);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto& tokenize = std::get<TokenizeRequest>(parsed);
  const auto ids =
      EncodePlain(*context->shared().model.tokenizer, tokenize.text, tokenize.add_special,
                  tokenize.parse_special ? SpecialTokens::kParse : SpecialTokens::kAsText);
  context->Reply(JsonResponse(200, TokensJson(ids)));
}

void HandleDetokenize(const ContextPointer& context, const HttpRequest& request) {
  const auto parsed = ParseDetokenizeRequest(request.body);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  const auto& ids = std::get<std::vector<TokenId>>(parsed);
  const Tokenizer& tokenizer = *context->shared().model.tokenizer;
  for (const TokenId id : ids) {
    if (id.value < tokenizer.vocab_size()) continue;
    ApiError error = HttpApiError(400, fmt::format("Token {} is outside the vocabulary of {}.",
                                                   id.value, tokenizer.vocab_size()));
    error.param = "tokens";
    return context->Refuse(error);
  }
  context->Reply(JsonResponse(200, ContentJson(tokenizer.Decode(ids, ControlTokens::kShow))));
}

// The served model, its aliases and adapters, and the models beside it.
std::vector<ModelEntry> ModelEntries(const Shared& shared) {
  const int32_t context_length = shared.model.engine->config().context_length;
  std::vector<ModelEntry> models = {{shared.model.id, shared.started_unix, context_length}};
  for (const std::string& alias : shared.model.aliases) {
    models.push_back({alias, shared.started_unix, context_length});
  }
  for (const AdapterInfo& adapter : shared.model.engine->info().adapters) {
    for (const std::string& name : {adapter.name, shared.model.id + ":" + adapter.name})
      models.push_back({name, shared.started_unix, context_length, shared.model.id});
  }
  for (const SideModel* side : {&shared.model.embedding, &shared.model.rerank}) {
    if (side->service == nullptr) continue;
    models.push_back({side->id, shared.started_unix, side->service->model().max_tokens()});
  }
  return models;
}

void HandleModels(const ContextPointer& context, const HttpRequest&) {
  context->Reply(JsonResponse(200, ModelListJson(ModelEntries(context->shared()))));
}

void HandleModel(const ContextPointer& context, const HttpRequest& request) {
  const std::vector<ModelEntry> models = ModelEntries(context->shared());
  for (const ModelEntry& model : models) {
    if (model.id == request.path_rest) return context->Reply(JsonResponse(200, ModelJson(model)));
  }
  const auto error = CheckModel(context->shared().model, request.path_rest);
  if (error) return context->Refuse(*error);
  context->Reply(JsonResponse(200, ModelJson(models.front())));  // no name: the one there is
}

void HandleLive(const ContextPointer& context, const HttpRequest&) {
  const std::pair<std::string, std::string> status[] = {{"status", "live"}};
  context->Reply(JsonResponse(200, FlatJson(status)));
}

void HandleReady(const ContextPointer& context, const HttpRequest&) {
  const bool ready = context->shared().ready;
  const std::pair<std::string, std::string> status[] = {{"status", ready ? "ready" : "draining"}};
  HttpResponse response = JsonResponse(ready ? 200 : 503, FlatJson(status));
  if (!ready) response.headers.push_back({"Retry-After", "1"});
  context->Reply(std::move(response));
}

void HandleMetrics(const ContextPointer& context, const HttpRequest&) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = context->metrics().Text(context->shared().model.engine->stats());
  context->Reply(std::move(response));
}

void HandleVersion(const ContextPointer& context, const HttpRequest&) {
  const std::pair<std::string, std::string> version[] = {
      {"version", context->shared().config.version}};
  context->Reply(JsonResponse(200, FlatJson(version)));
}

void HandleFrontPage(const ContextPointer& context, const HttpRequest&) {
  HttpResponse response;
  response.content_type = "text/html; charset=utf-8";
  response.body = kFrontPage;
  response.headers.push_back({"Content-Security-Policy", "default-src 'none'"});
  context->Reply(std::move(response));
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  enum class Access { kOpen, kKeys };
  // kWorkerIfRoom: for generations, which are refused at once where the engine would refuse any:
  // under a flood, refusals must not take the time that the answers need.
  enum class Thread { kIo, kWorker, kWorkerIfRoom };

  Impl(ServerConfig config, ServedModel model)
      : shared(std::make_shared<Shared>(std::move(config), std::move(model))),
        workers(shared->config.workers, shared->config.max_queued_work) {
    shared->started_unix = std::time(nullptr);
    // Not bounded: each generation has one task in it at most.
    if (shared->config.formatters > 0) {
      formatters = std::make_shared<WorkerPool>(shared->config.formatters,
                                                std::numeric_limits<size_t>::max());
      shared->formatters = formatters;
    }
  }

  HttpHandler Route(Work work, Access access, Thread thread) {
    return [this, work = std::move(work), access, thread](HttpRequest request,
                                                          Responder responder) {
      auto context = std::make_shared<RequestContext>(shared, request, std::move(responder));
      if (access == Access::kKeys && !shared->config.keys.empty() &&
          context->api_key() == nullptr) {
        ApiError error = HttpApiError(401,
                                      "The API key is missing or wrong: send the header "
                                      "'Authorization: Bearer KEY' (or 'x-api-key: KEY').");
        error.code = "invalid_api_key";
        return context->Refuse(error);
      }
      if (access == Access::kKeys && checks_hosts &&
          !MayBeAskedAs(request.Header("host").value_or(""), shared->config.allowed_hosts)) {
        return context->Refuse(HttpApiError(
            403,
            "Without API keys this server answers to the names of its own machine or network "
            "only, so that web pages cannot use it under a name of theirs: start it with "
            "--allowed-host NAME, or with API keys."));
      }
      if (thread == Thread::kIo) return work(context, request);
      if (thread == Thread::kWorkerIfRoom) {
        const Status room = shared->model.engine->CheckRoom();
        if (!room.ok()) return context->Refuse(ToApiError(room.error()));
      }
      auto moved = std::make_shared<HttpRequest>(std::move(request));
      const bool queued = workers.Post([work, context, moved] {
        if (context->responder().disconnected()) {
          context->Log(499, EndState::kCancelled);
          return;
        }
        try {
          work(context, *moved);
        } catch (const std::exception&) {  // no memory: this request fails, the others go on
          context->Refuse(HttpApiError(500, "The server failed to answer this request."));
        }
      });
      if (!queued) {
        context->Refuse(ToApiError(
            {"The server has too many requests waiting: try again later.", ErrorKind::kExhausted}));
      }
    };
  }

  Router MakeRouter() {
    Router router(RefusalOf);
    std::vector<ApiRoute> routes;
    const auto add = [&](const char* method, const char* path, Work work, Access access,
                         Thread thread) {
      router.Add(method, path, Route(std::move(work), access, thread));
      routes.push_back({method, path, access == Access::kKeys});
    };
    if (shared->config.dashboard) {
      AddDashboard(
          add, [&](const char* method, const char* path, Work work, Access access, Thread thread) {
            router.Add(method, path, Route(std::move(work), access, thread));
            // Of the page's files, the page alone is part of the API's document.
            if (std::string_view(path) == "/") routes.push_back({method, path, false});
          });
    } else {
      add("GET", "/", HandleFrontPage, Access::kKeys, Thread::kIo);
    }
    add("GET", "/version", HandleVersion, Access::kKeys, Thread::kIo);
    add("GET", "/metrics", HandleMetrics,
        shared->config.open_metrics ? Access::kOpen : Access::kKeys, Thread::kIo);
    if (shared->config.debug_endpoints || shared->config.dashboard) {
      add("GET", "/debug/timeline", HandleTimeline, Access::kKeys, Thread::kWorker);
      add("GET", "/debug/kv", HandleKvMap, Access::kKeys, Thread::kWorker);
    }
    add("GET", "/health", HandleReady, Access::kOpen, Thread::kIo);  // as other servers call it
    add("GET", "/health/live", HandleLive, Access::kOpen, Thread::kIo);
    add("GET", "/health/ready", HandleReady, Access::kOpen, Thread::kIo);
    add("GET", "/v1/insights", HandleInsights, Access::kKeys, Thread::kWorker);
    add("GET", "/v1/models", HandleModels, Access::kKeys, Thread::kIo);
    add("GET", "/v1/models/*", HandleModel, Access::kKeys, Thread::kIo);
    add("POST", "/v1/chat/completions", HandleChat, Access::kKeys, Thread::kWorkerIfRoom);
    add("POST", "/v1/completions", HandleCompletion, Access::kKeys, Thread::kWorkerIfRoom);
    add("GET", "/v1/vector_stores", HandleListStores, Access::kKeys, Thread::kWorker);
    add("POST", "/v1/vector_stores", HandleCreateStore, Access::kKeys, Thread::kWorker);
    for (const char* method : {"GET", "POST", "DELETE"}) {
      add(method, "/v1/vector_stores/*", HandleStore, Access::kKeys, Thread::kWorker);
    }
    add("POST", "/v1/responses", HandleResponses, Access::kKeys, Thread::kWorkerIfRoom);
    add("POST", "/v1/messages", HandleMessages, Access::kKeys, Thread::kWorkerIfRoom);
    add("POST", "/v1/messages/count_tokens", HandleCountTokens, Access::kKeys, Thread::kWorker);
    add("POST", "/v1/embeddings", HandleEmbeddings, Access::kKeys, Thread::kWorker);
    add("POST", "/v1/rerank", HandleRerank, Access::kKeys, Thread::kWorker);
    const auto describe = [this](const ContextPointer& context, const HttpRequest&) {
      context->Reply(JsonResponse(200, open_api));
    };
    add("GET", "/openapi.json", describe, Access::kKeys, Thread::kIo);
    add("POST", "/tokenize", HandleTokenize, Access::kKeys, Thread::kWorker);
    add("POST", "/detokenize", HandleDetokenize, Access::kKeys, Thread::kWorker);
    open_api = OpenApiJson(routes, shared->config.version);
    return router;
  }

  // The page itself is open: it is the same for all, and asks for the key.
  template <class Add, class AddFile>
  void AddDashboard(const Add& add, const AddFile& add_file) {
    feed = std::make_unique<LiveFeed>(shared);
    for (const WebFile& file : shared->config.dashboard->files) {
      add_file("GET", file.path.c_str(), WebPage(file), Access::kOpen, Thread::kIo);
    }
    add("GET", "/debug/samples", HandleSamples, Access::kKeys, Thread::kIo);
    add("POST", "/debug/attention", HandleAttention, Access::kKeys, Thread::kWorker);
    add("GET", "/debug/comparison", HandleComparison, Access::kKeys, Thread::kIo);
    if (shared->config.dashboard->measure.start) {
      add("POST", "/debug/measure", HandleMeasureStart, Access::kKeys, Thread::kWorker);
      add("GET", "/debug/measure", HandleMeasureState, Access::kKeys, Thread::kWorker);
      add("DELETE", "/debug/measure", HandleMeasureCancel, Access::kKeys, Thread::kWorker);
    }
    add("GET", "/debug/about", HandleAbout, Access::kKeys, Thread::kIo);
    const auto watch = [this](const ContextPointer& context, const HttpRequest& request) {
      WatchFeed(*feed, context, request);
    };
    add("GET", "/debug/events", watch, Access::kKeys, Thread::kIo);
  }

  std::shared_ptr<Shared> shared;
  const bool checks_hosts = shared->config.keys.empty() && IsLoopback(shared->config.http.address);
  std::string open_api;  // the document
  WorkerPool workers;
  std::shared_ptr<WorkerPool> formatters;  // shared with whoever posts just now
  std::unique_ptr<LiveFeed> feed;          // with a dashboard
  std::unique_ptr<HttpServer> http;        // destroyed first: its handlers use the rest
};

Server::Server(ServerConfig config, ServedModel model)
    : impl_(std::make_shared<Impl>(std::move(config), std::move(model))) {
  HttpConfig http = impl_->shared->config.http;
  http.error_format = RefusalOf;
  impl_->http = std::make_unique<HttpServer>(std::move(http), impl_->MakeRouter());
}

Server::~Server() = default;

Status Server::Start(Exposure exposure) {
  const ServerConfig& config = impl_->shared->config;
  if (exposure == Exposure::kNeedsKeys && config.keys.empty() && !IsLoopback(config.http.address)) {
    return Error{"Listening on " + config.http.address +
                 " would let anybody who can reach this machine use it: give an API key with "
                 "--api-key, or say --insecure."};
  }
  if (const SideModel& embedding = impl_->shared->model.embedding; embedding.service != nullptr) {
    ASSIGN_OR_RETURN(impl_->shared->vectors, MakeVectorModel(*embedding.service, embedding.id));
  }
  RETURN_IF_ERROR(CheckGivenStores(*impl_->shared));
  RETURN_IF_ERROR(impl_->http->Start());
  impl_->shared->ready = true;
  return {};
}

uint16_t Server::port() const { return impl_->http->port(); }

Status Server::ReloadTls() { return impl_->http->ReloadTls(); }

bool Server::Drain(std::chrono::milliseconds limit) {
  impl_->shared->ready = false;
  impl_->shared->model.engine->Drain();
  const auto end = std::chrono::steady_clock::now() + limit;
  while (impl_->shared->generations > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (impl_->feed) impl_->feed->Stop();
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  const auto least = std::chrono::milliseconds(100);  // to write the last bytes
  return impl_->http->Stop(std::max(std::min(left, std::chrono::milliseconds(2000)), least));
}

}  // namespace millrace
