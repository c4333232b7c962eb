// millrace serve MODEL: the OpenAI API over HTTP, until SIGTERM or SIGINT.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "command_line.h"
#include "embedded_model.h"
#include "embedded_web.h"
#include "measure_job.h"
#include "model_loading.h"
#include "openai_api/template_chat.h"
#include "prompt_reduction/passage_store.h"
#include "prompt_reduction/reduction_switch.h"
#include "reporting.h"
#include "request_log.h"
#include "serve_flags.h"
#include "server/server.h"
#include "service_manager.h"
#include "side_models.h"
#include "tls_flags.h"
#include "traffic_record.h"
#include "verbs.h"

namespace millrace {
namespace {

constexpr size_t kTimelineSteps = 1024;

// Numbers for seeds and ids, from any thread.
std::function<uint64_t()> SystemRandom() {
  struct Source {
    std::mutex mutex;
    std::mt19937_64 numbers{std::random_device()()};
  };
  return [source = std::make_shared<Source>()] {
    std::lock_guard lock(source->mutex);
    return source->numbers();
  };
}

LogFormat LogFormatOf(const ServeFlags& flags) {
  return flags.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
}

DashboardConfig MakeDashboard(const ServeFlags& flags, const LoadedModel& loaded) {
  DashboardConfig dashboard;
  dashboard.files = EmbeddedWebFiles();
  if (flags.model.model.empty()) {
    dashboard.samples = EmbeddedTask();  // it knows no other questions
    dashboard.comparison = EmbeddedComparison();
  }
  dashboard.measure = HooksOf(std::make_shared<MeasureJob>(flags.model.model, flags.model.draft));
  dashboard.isa = loaded.isa;
  dashboard.kv_type = loaded.kv_type;
  const ModelFlags& m = flags.model;
  dashboard.switches = {{"prefix-cache", m.kv == "contiguous" ? "off" : m.prefix_cache},
                        {"speculate", m.speculate},
                        {"batching", m.batching},
                        {"reduce", flags.reduce},
                        {"kv", m.kv},
                        {"attention", m.attention},
                        {"kv-type", m.kv_type}};
  return dashboard;
}

Result<ApiKeys> KeysOf(const ServeFlags& flags) {
  std::vector<ApiKey> keys;
  for (const std::string& key : flags.api_keys) keys.push_back(MakeApiKey(key));
  if (!flags.api_key_file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.api_key_file));
    auto parsed = ParseKeyFile(text);
    if (!parsed.ok()) return Error{flags.api_key_file + ", " + parsed.error().message};
    if (parsed->empty()) return Error{flags.api_key_file + " holds no API key"};
    for (ApiKey& key : *parsed) keys.push_back(std::move(key));
  }
  return ApiKeys(std::move(keys));
}

// Where passages come from, and how many of them a prompt gets.
Status SetPassages(const ServeFlags& flags, ServerConfig& config) {
  auto reduction = ParseReduction(flags.reduce);
  if (!reduction.ok()) return Error{"--reduce " + flags.reduce + ": " + reduction.error().message};
  config.reduction = *reduction;
  if (flags.reduce_prune < 1) config.reduction.prune_ratio = flags.reduce_prune;
  for (const std::string& named : flags.stores) {
    const size_t at = named.find('=');
    if (at == 0 || at == std::string::npos) return Error{"--store " + named + ": say NAME=FILE"};
    const auto store = PassageStore::Open(named.substr(at + 1), PassageStore::Access::kRead);
    if (!store.ok()) return store.error();
    config.stores[named.substr(0, at)] = named.substr(at + 1);
  }
  std::error_code unreadable;
  if (!flags.store_dir.empty() && !std::filesystem::is_directory(flags.store_dir, unreadable)) {
    return Error{"--store-dir " + flags.store_dir + " is no folder: make it first"};
  }
  config.store_folder = flags.store_dir;
  return {};
}

Result<ServerConfig> MakeConfig(const ServeFlags& flags) {
  ServerConfig config;
  config.http.address = flags.host;
  config.http.port = flags.port;
  ASSIGN_OR_RETURN(config.http.tls, TlsOf(flags.tls));
  config.http.allowed_origins = flags.cors_origins;
  config.allowed_hosts = flags.allowed_hosts;
  config.http.max_connections = static_cast<size_t>(flags.max_connections);
  ASSIGN_OR_RETURN(config.keys, KeysOf(flags));
  config.unknown_fields = flags.strict ? UnknownFields::kRefuse : UnknownFields::kIgnore;
  // Requests that wait for a worker are not in the queue yet: it must be the narrower bound.
  config.max_queued_work = std::max(config.max_queued_work, static_cast<size_t>(flags.max_queue));
  config.max_requests_per_key = flags.max_requests_per_key;
  config.debug_endpoints = flags.debug_endpoints;
  config.max_tokens_per_key = flags.max_tokens_per_key;
  config.version = MILLRACE_VERSION;
  config.log = RequestLogger(LogFormatOf(flags));
  config.open_metrics = flags.open_metrics;
  config.metric_names = flags.metrics_compat == "vllm" ? MetricNames::kAlsoVllm : MetricNames::kOwn;
  RETURN_IF_ERROR(SetPassages(flags, config));
  config.random = SystemRandom();
  return config;
}

ServedModel MakeServed(const ServeFlags& flags, LoadedModel& loaded, LoadedSideModels& side,
                       Engine& engine) {
  ServedModel served;
  served.id = flags.served_names.empty() ? loaded.id : flags.served_names.front();
  if (!flags.served_names.empty()) {
    served.aliases.assign(flags.served_names.begin() + 1, flags.served_names.end());
  }
  served.tokenizer = loaded.tokenizer.get();
  served.engine = &engine;
  served.surprises = DraftSurprises(flags.model, loaded.isa);
  served.embedding = {side.embedding.id, side.embedding.service.get()};
  served.rerank = {side.rerank.id, side.rerank.service.get()};
  if (loaded.chat_template) {
    if (TakesDocuments(*loaded.chat_template, *loaded.tokenizer)) {
      served.passage_place = PassagePlace::kTemplate;
    }
    served.answer_style =
        StyleOf(*loaded.chat_template, *loaded.tokenizer, loaded.chat_template_source);
    served.render_chat = [&loaded, ids = served.answer_style.call_ids](std::string_view chat) {
      return RenderChatJson(*loaded.chat_template, *loaded.tokenizer, chat, ids);
    };
  }
  return served;
}

// Every model has a name of its own.
Status CheckAdapterNames(const ServedModel& served) {
  for (const AdapterInfo& adapter : served.engine->info().adapters) {
    const auto& aliases = served.aliases;
    if (adapter.name == served.id || adapter.name == served.embedding.id ||
        adapter.name == served.rerank.id ||
        std::find(aliases.begin(), aliases.end(), adapter.name) != aliases.end()) {
      return Error{"--lora " + adapter.name + "=...: another model has that name; choose another"};
    }
  }
  return {};
}

void LogAdapters(const Engine& engine) {
  for (const AdapterInfo& adapter : engine.info().adapters) {
    spdlog::info("adapter {}: rank {}, {:.1f} MiB, {}", adapter.name, adapter.rank,
                 static_cast<double>(adapter.bytes) / 1048576.0, adapter.identity);
  }
}

void LogSideModel(std::string_view route, const LoadedSideModel& side) {
  if (!side.service) return;
  const EmbeddingModel& model = side.service->model();
  spdlog::info("{}: {} ({} tokens a text, pooling {}, {} wide)", route, side.id, model.max_tokens(),
               NameOf(model.pooling()), model.width());
}

// What the KV cache was given, and what that means for the other switches.
void LogKvMemory(const Engine& engine, const ModelFlags& flags, const LoadedModel& loaded) {
  const EngineStats stats = engine.stats();
  spdlog::info("KV memory: {} MiB for {} tokens in {}, {}; taken as it is needed, {}",
               stats.kv_bytes >> 20, int64_t{stats.blocks_total} * kBlockTokens,
               NameOf(loaded.kv_type), flags.kv,
               stats.kv_huge_pages ? "on huge pages where there are some" : "without huge pages");
  if (flags.kv == "contiguous" && flags.prefix_cache == "on") {
    spdlog::warn(
        "--kv contiguous: a region belongs to one request, so nothing is shared: the prefix cache "
        "is off, and several answers to one prompt compute it several times");
  }
}

// Whether the cache directory is worth its while, as measured.
void LogDiskTier(const Engine& engine, const ModelFlags& flags) {
  if (flags.prefix_cache_dir.empty()) return;
  const EngineStats stats = engine.stats();
  spdlog::info(
      "prefix cache in {}: {}, {} blocks of {} MiB; loading a block takes {:.3f} ms, computing it "
      "{:.3f} ms",
      flags.prefix_cache_dir, stats.disk_in_use ? "in use" : "not used", stats.disk.files,
      stats.disk.bytes >> 20, Milliseconds(stats.disk_block_load),
      Milliseconds(stats.disk_block_compute));
}

// Whether the engine took a step since the last question, or had nothing to do.
std::function<bool()> StepsGoOn(const Engine& engine) {
  return [&engine, steps = int64_t{-1}]() mutable {
    const EngineStats now = engine.stats();
    return std::exchange(steps, now.steps) != now.steps || now.running + now.waiting == 0;
  };
}

Status Serve(const ServeFlags& flags) {
  SetUpLog(LogFormatOf(flags), flags.log_level);
  ServiceManager manager;  // before any thread starts
  std::signal(SIGPIPE, SIG_IGN);
  AllowFiles(flags.max_connections);

  ASSIGN_OR_RETURN(ServerConfig config, MakeConfig(flags));
  if (!flags.record.empty()) {
    ASSIGN_OR_RETURN(config.record, OpenTrafficRecord(flags.record, flags.record_texts == "on"
                                                                        ? RecordedTexts::kKept
                                                                        : RecordedTexts::kDropped));
    spdlog::warn("requests are recorded to {}, {}", flags.record,
                 flags.record_texts == "on" ? "with their texts" : "without texts");
  }
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(flags.model));
  if (flags.dashboard == "on") config.dashboard = MakeDashboard(flags, loaded);
  ASSIGN_OR_RETURN(LoadedSideModels side,
                   LoadSideModels(flags.side_models, loaded.isa, loaded.pool->threads()));
  EngineConfig engine_config;
  engine_config.max_queued_requests = flags.max_queue;
  engine_config.max_queued_tokens = flags.max_queued_tokens;
  if (flags.debug_endpoints || flags.dashboard == "on")
    engine_config.timeline_steps = kTimelineSteps;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   MakeEngine(flags.model, loaded, engine_config));
  ServedModel served = MakeServed(flags, loaded, side, *engine);
  RETURN_IF_ERROR(CheckAdapterNames(served));
  const std::string id = served.id;
  Server server(std::move(config), std::move(served));
  RETURN_IF_ERROR(
      server.Start(flags.insecure ? Server::Exposure::kInsecure : Server::Exposure::kNeedsKeys));
  std::thread engine_thread([&engine] { engine->Run(); });
  spdlog::info("serving {} on {}://{}:{} (context {} tokens)", id,
               flags.tls.key.empty() ? "http" : "https", flags.host, server.port(),
               engine->config().context_length);
  LogTlsWarnings(flags.tls);
  LogKvMemory(*engine, flags.model, loaded);
  LogAdapters(*engine);
  LogSideModel("/v1/embeddings", side.embedding);
  LogSideModel("/v1/rerank", side.rerank);
  LogDiskTier(*engine, flags.model);
  manager.Ready("serving " + id + " on port " + std::to_string(server.port()));
  const int signal = manager.WaitForEnd(
      {.tend = FlushRequests, .alive = StepsGoOn(*engine), .reload = TlsReload(flags.tls, server)});
  manager.Stopping();
  const EngineStats then = engine->stats();
  spdlog::info("signal {}: {} running, {} waiting; draining for up to {} s", signal, then.running,
               then.waiting, flags.drain_timeout);
  const bool finished = server.Drain(std::chrono::seconds(flags.drain_timeout));
  engine->Stop();
  engine_thread.join();
  const EngineStats total = engine->stats();
  spdlog::info("stopped: {}{} requests finished, {} preemptions, {} KV blocks held",
               finished ? "" : "some answers were cut; ", total.finished, total.preemptions,
               total.blocks_held);
  return {};
}

}  // namespace

void AddServeVerb(CommandLine& line) {
  auto flags = std::make_shared<ServeFlags>();
  Verb verb = line.AddVerb("serve", "Serve a model over HTTP, as the OpenAI API");
  AddServeFlags(verb, *flags);
  verb.OnParsed([flags] { return Serve(*flags); });
}

}  // namespace millrace
