#include "server/server.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <thread>
#include <utility>

#include "http/router.h"
#include "server/debug_endpoints.h"
#include "server/generation.h"
#include "server/reduction.h"
#include "server/request_context.h"
#include "server/store_routes.h"
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

std::vector<TokenId> EncodePlain(const Tokenizer& tokenizer, std::string_view text, bool add_bos,
                                 SpecialTokens special) {
  std::vector<TokenId> ids = tokenizer.Encode(text, special);
  if (add_bos && tokenizer.adds_bos() && tokenizer.bos()) ids.insert(ids.begin(), *tokenizer.bos());
  return ids;
}

std::vector<TokenId> TokensOf(const Tokenizer& tokenizer, const Prompt& prompt, bool add_bos) {
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) return *ids;
  return EncodePlain(tokenizer, std::get<std::string>(prompt), add_bos, SpecialTokens::kAsText);
}

// The prompt that asks for what stands between `prompt` and `suffix`.
ApiResult<std::vector<TokenId>> FillInPrompt(const Tokenizer& tokenizer, const Prompt& prompt,
                                             const std::string& suffix) {
  const auto fill = tokenizer.fill_in_the_middle();
  if (!fill) {
    ApiError error = HttpApiError(400,
                                  "This model cannot fill in the middle (its vocabulary has no "
                                  "tokens for it): leave 'suffix' out.");
    error.param = "suffix";
    error.code = "unsupported_parameter";
    return error;
  }
  std::vector<TokenId> tokens;
  const auto append = [&tokens](const std::vector<TokenId>& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  if (tokenizer.adds_bos() && tokenizer.bos()) tokens.push_back(*tokenizer.bos());
  tokens.push_back(fill->prefix);
  append(TokensOf(tokenizer, prompt, false));
  tokens.push_back(fill->suffix);
  append(EncodePlain(tokenizer, suffix, false, SpecialTokens::kAsText));
  tokens.push_back(fill->middle);
  return tokens;
}

// The served model's id or an alias; no name at all means the one model there is.
std::optional<ApiError> CheckModel(const ServedModel& model, const std::string& name) {
  if (name.empty() || name == model.id ||
      std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end()) {
    return std::nullopt;
  }
  ApiError error = HttpApiError(404, "The model '" + name.substr(0, 200) +
                                         "' does not exist here; served is '" + model.id + "'.");
  error.param = "model";
  error.code = "model_not_found";
  return error;
}

void HandleChat(const ContextPointer& context, const HttpRequest& request) {
  const Shared& shared = context->shared();
  auto parsed = ParseChatRequest(request.body, shared.config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  auto& chat = std::get<ChatRequest>(parsed);
  if (const auto error = CheckModel(shared.model, chat.options.model)) {
    return context->Refuse(*error);
  }
  if (!shared.model.render_chat) {
    return context->Refuse(
        HttpApiError(400, "The model has no chat template: use /v1/completions instead."));
  }
  const auto reduction = ReducePassages(context, chat);
  if (const auto* error = std::get_if<ApiError>(&reduction)) return context->Refuse(*error);
  const Result<std::string> text = shared.model.render_chat(chat.template_json);
  if (!text.ok()) {
    ApiError error = ToApiError(text.error());
    error.code.clear();
    error.param = "messages";
    return context->Refuse(error);
  }
  std::vector<std::vector<TokenId>> prompts;
  prompts.push_back(shared.model.tokenizer->Encode(*text, SpecialTokens::kParse));
  Generation::Start(context,
                    {.endpoint = Endpoint::kChat,
                     .options = std::move(chat.options),
                     .prompts = std::move(prompts),
                     .reduction = std::get<std::shared_ptr<const ReductionReport>>(reduction)});
}

void HandleCompletion(const ContextPointer& context, const HttpRequest& request) {
  const Shared& shared = context->shared();
  auto parsed = ParseCompletionRequest(request.body, shared.config.unknown_fields);
  if (const auto* error = std::get_if<ApiError>(&parsed)) return context->Refuse(*error);
  auto& completion = std::get<CompletionRequest>(parsed);
  if (const auto error = CheckModel(shared.model, completion.options.model)) {
    return context->Refuse(*error);
  }
  Generation::Plan plan{.endpoint = Endpoint::kCompletions, .options = {}, .prompts = {}};
  for (Prompt& prompt : completion.prompts) {
    const Tokenizer& tokenizer = *shared.model.tokenizer;
    if (!completion.suffix.empty()) {
      auto filled = FillInPrompt(tokenizer, prompt, completion.suffix);
      if (const auto* error = std::get_if<ApiError>(&filled)) return context->Refuse(*error);
      plan.prompts.push_back(std::get<std::vector<TokenId>>(std::move(filled)));
      continue;
    }
    plan.prompts.push_back(TokensOf(tokenizer, prompt, true));
    if (!completion.options.echo) continue;
    const auto* text = std::get_if<std::string>(&prompt);
    plan.prompt_texts.push_back(text != nullptr ? *text : tokenizer.Decode(plan.prompts.back()));
  }
  plan.options = std::move(completion.options);
  Generation::Start(context, std::move(plan));
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

ModelEntry EntryOf(const Shared& shared, const std::string& id) {
  return {id, shared.started_unix, shared.model.engine->config().context_length};
}

void HandleModels(const ContextPointer& context, const HttpRequest&) {
  const Shared& shared = context->shared();
  std::vector<ModelEntry> models = {EntryOf(shared, shared.model.id)};
  for (const std::string& alias : shared.model.aliases) models.push_back(EntryOf(shared, alias));
  context->Reply(JsonResponse(200, ModelListJson(models)));
}

void HandleModel(const ContextPointer& context, const HttpRequest& request) {
  if (const auto error = CheckModel(context->shared().model, request.path_rest)) {
    return context->Refuse(*error);
  }
  context->Reply(JsonResponse(200, ModelJson(EntryOf(context->shared(), request.path_rest))));
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

void HandleInsights(const ContextPointer& context, const HttpRequest&) {
  context->Reply(JsonResponse(200, context->insights().Json(context->shared().clock.Now())));
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
      if (access == Access::kKeys && !shared->config.keys.Allows(request.Header("authorization"))) {
        ApiError error = HttpApiError(401,
                                      "The API key is missing or wrong: send the header "
                                      "'Authorization: Bearer KEY'.");
        error.code = "invalid_api_key";
        return context->Refuse(error);
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
    Router router([](int status, std::string_view text) {
      return ErrorResponse(HttpApiError(status, text));
    });
    const auto add = [&](const char* method, const char* path, Work work, Access access,
                         Thread thread) {
      router.Add(method, path, Route(std::move(work), access, thread));
    };
    add("GET", "/", HandleFrontPage, Access::kKeys, Thread::kIo);
    add("GET", "/version", HandleVersion, Access::kKeys, Thread::kIo);
    add("GET", "/metrics", HandleMetrics, Access::kKeys, Thread::kIo);
    if (shared->config.debug_endpoints) {
      add("GET", "/debug/timeline", HandleTimeline, Access::kKeys, Thread::kWorker);
      add("GET", "/debug/kv", HandleKvMap, Access::kKeys, Thread::kWorker);
    }
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
    add("POST", "/tokenize", HandleTokenize, Access::kKeys, Thread::kWorker);
    add("POST", "/detokenize", HandleDetokenize, Access::kKeys, Thread::kWorker);
    return router;
  }

  std::shared_ptr<Shared> shared;
  WorkerPool workers;
  std::shared_ptr<WorkerPool> formatters;  // shared with whoever posts just now
  std::unique_ptr<HttpServer> http;        // destroyed first: its handlers use the rest
};

Server::Server(ServerConfig config, ServedModel model)
    : impl_(std::make_shared<Impl>(std::move(config), std::move(model))) {
  HttpConfig http = impl_->shared->config.http;
  http.error_format = [](int status, std::string_view text) {
    return ErrorResponse(HttpApiError(status, text));
  };
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
  RETURN_IF_ERROR(impl_->http->Start());
  impl_->shared->ready = true;
  return {};
}

uint16_t Server::port() const { return impl_->http->port(); }

bool Server::Drain(std::chrono::milliseconds limit) {
  impl_->shared->ready = false;
  impl_->shared->model.engine->Drain();
  const auto end = std::chrono::steady_clock::now() + limit;
  while (impl_->shared->generations > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  const auto least = std::chrono::milliseconds(100);  // to write the last bytes
  return impl_->http->Stop(std::max(std::min(left, std::chrono::milliseconds(2000)), least));
}

}  // namespace millrace
