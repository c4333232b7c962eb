#include "server/dashboard.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/rng.h"
#include "server/attention_probe.h"
#include "server/insights_route.h"
#include "server/query.h"

namespace millrace::server_internal {
namespace {

constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types svelte-trusted-html";

std::string TagOf(std::string_view bytes, std::string_view form) {
  uint64_t hash = bytes.size();
  for (const char c : bytes) hash = Mix64(hash ^ static_cast<unsigned char>(c));
  return fmt::format("\"{:016x}-{}\"", hash, form);
}

// What costs time is started by pages of this server only: others cannot send JSON here, as it
// answers no preflight request, and could send a form.
bool RefusesForm(const ContextPointer& context, const HttpRequest& request) {
  const std::string_view type = request.Header("content-type").value_or("");
  if (EqualsIgnoringCase(type.substr(0, type.find(';')), "application/json")) return false;
  context->Refuse(HttpApiError(415, "The header 'Content-Type: application/json' is missing."));
  return true;
}

}  // namespace

std::function<void(const ContextPointer&, const HttpRequest&)> WebPage(const WebFile& file) {
  return [file, plain = TagOf(file.bytes, "p"), packed = TagOf(file.bytes, "z")](
             const ContextPointer& context, const HttpRequest& request) {
    const bool zip =
        !file.gzip.empty() && ListContains(request.Header("accept-encoding").value_or(""), "gzip");
    const std::string& tag = zip ? packed : plain;
    HttpResponse response;
    response.content_type = file.content_type;
    response.headers = {{"ETag", tag},
                        {"Cache-Control", "no-cache"},
                        {"Vary", "Accept-Encoding"},
                        {"X-Content-Type-Options", "nosniff"},
                        {"Referrer-Policy", "no-referrer"},
                        {"Cross-Origin-Opener-Policy", "same-origin"},
                        {"Cross-Origin-Resource-Policy", "same-origin"},
                        {"Content-Security-Policy", kPolicy}};
    if (ListContains(request.Header("if-none-match").value_or(""), tag)) {
      response.status = 304;
    } else {
      response.body = zip ? file.gzip : file.bytes;
      if (zip) response.headers.push_back({"Content-Encoding", "gzip"});
    }
    context->Reply(std::move(response));
  };
}

void HandleAbout(const ContextPointer& context, const HttpRequest&) {
  const Shared& shared = context->shared();
  const Engine& engine = *shared.model.engine;
  ServerFacts facts;
  facts.version = shared.config.version;
  facts.model = shared.model.id;
  facts.chat = shared.model.render_chat != nullptr;
  facts.context_length = engine.config().context_length;
  facts.max_running = engine.config().scheduler.max_running;
  facts.max_step_tokens = engine.config().scheduler.max_step_tokens;
  facts.info = engine.info();
  facts.switches = shared.config.dashboard->switches;
  for (const auto& [name, path] : shared.config.stores) facts.stores.push_back(name);
  context->Reply(JsonResponse(200, AboutJson(facts)));
}

void HandleSamples(const ContextPointer& context, const HttpRequest&) {
  constexpr int kMost = 64;
  std::string_view lines = context->shared().config.dashboard->samples;
  std::string list;
  for (int i = 0; i < kMost && !lines.empty(); ++i) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    list += list.empty() ? "" : ",";
    list += lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  context->Reply(JsonResponse(200, "[" + list + "]"));
}

void HandleAttention(const ContextPointer& context, const HttpRequest& request) {
  if (RefusesForm(context, request)) return;
  const Shared& shared = context->shared();
  const int32_t most = std::min(kMostProbed, shared.model.engine->config().context_length);
  const auto tokens = ParseProbeTokens(request.body, std::min(kLeastProbed, most), most);
  if (const auto* error = std::get_if<ApiError>(&tokens)) return context->Refuse(*error);
  std::unique_lock one(context->probing(), std::try_to_lock);
  if (!one.owns_lock()) {
    return context->Refuse(
        ToApiError({"Somebody measures attention just now: try again when that is over.",
                    ErrorKind::kExhausted}));
  }
  const auto sizes = AttentionSizesOf(shared);
  if (!sizes) return context->Refuse(HttpApiError(404, "This model's attention is not measured."));
  const auto measured = ProbeAttention(*sizes, std::get<int32_t>(tokens));
  if (!measured.ok()) return context->Refuse(ToApiError(measured.error()));
  context->Reply(JsonResponse(200, AttentionJson(*measured)));
}

void HandleMeasureStart(const ContextPointer& context, const HttpRequest& request) {
  if (RefusesForm(context, request)) return;
  const auto order = ParseMeasureOrder(request.body);
  if (const auto* error = std::get_if<ApiError>(&order)) return context->Refuse(*error);
  const auto& [switches, minutes] = std::get<MeasureOrder>(order);
  const MeasureHooks& measure = context->shared().config.dashboard->measure;
  const Status started = measure.start(switches, minutes);
  if (!started.ok()) return context->Refuse(ToApiError(started.error()));
  context->Reply(JsonResponse(202, MeasureStateJson(measure.state())));
}

void HandleMeasureState(const ContextPointer& context, const HttpRequest&) {
  const MeasureHooks& measure = context->shared().config.dashboard->measure;
  const MeasureState state = measure.state();
  context->Reply(JsonResponse(200, MeasureStateJson(state, measure.report())));
}

void HandleMeasureCancel(const ContextPointer& context, const HttpRequest&) {
  const MeasureHooks& measure = context->shared().config.dashboard->measure;
  measure.cancel();
  context->Reply(JsonResponse(200, MeasureStateJson(measure.state())));
}

void HandleComparison(const ContextPointer& context, const HttpRequest&) {
  const std::string_view table = context->shared().config.dashboard->comparison;
  context->Reply(JsonResponse(200, std::string(table.empty() ? "[]" : table)));
}

void WatchFeed(LiveFeed& feed, const ContextPointer& context, const HttpRequest& request) {
  const auto topics = ParseTopics(QueryValue(request.query, "topics").value_or(""));
  if (!topics.ok()) {
    ApiError error = HttpApiError(400, topics.error().message);
    error.param = "topics";
    return context->Refuse(error);
  }
  feed.Watch(context, *topics);
}

}  // namespace millrace::server_internal
