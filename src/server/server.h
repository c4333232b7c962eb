// Server: wires http, openai_api and engine together: routes, API keys, request log, draining.
//
// The way of a request: I/O thread (HTTP) -> worker thread (JSON, template, tokeniser, Submit) ->
// engine thread (tokens) -> formatter thread (text and JSON) -> I/O thread (bytes). Invariant:
// every request that reaches a route ends in exactly one RequestRecord; a client that goes away has
// its engine requests cancelled before the engine's next step.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "answer_parts/answer_style.h"
#include "base/clock.h"
#include "base/result.h"
#include "embedding/embedding_service.h"
#include "engine/engine.h"
#include "http/server.h"
#include "openai_api/feed_json.h"
#include "openai_api/request_parser.h"
#include "openai_api/response.h"
#include "prompt_reduction/reduce.h"
#include "server/api_keys.h"
#include "simd/isa.h"
#include "tokenizer/tokenizer.h"

namespace millrace {

enum class EndState { kCompleted, kRefused, kCancelled, kFailed };
std::string_view NameOf(EndState state);  // "completed", "refused", "cancelled", "failed"

// One line of the request log.
struct RequestRecord {
  std::string id;                        // the x-request-id header
  std::string trace_id, parent_span_id;  // of the header traceparent, where it was well-formed
  std::string key;                       // the name of the API key; empty: none
  std::string route;                     // "POST /v1/chat/completions"
  int status = 0;                        // 499: the client left before an answer
  EndState end = EndState::kCompleted;
  double total_ms = 0;
  // Of a generation: what it used, as far as it came, and the savings ledger.
  struct GenerationPart {
    Usage usage;
    int choices = 1;
    bool stream = false;
    std::string finish_reasons;  // of the choices: "stop", "stop,length"; empty: none ended
    std::string adapter;         // its name; empty: the base model answered
    double first_token_ms = 0;   // since the request's arrival; 0: there was none
    int32_t max_tokens = 0;      // that each choice might have had
  };
  std::optional<GenerationPart> generation;
};

// A generation that was completed, for those who record traffic to measure on it later.
struct RecordedTraffic {
  double arrival_ms = 0;      // since 1970
  std::string route;          // "POST /v1/chat/completions"
  std::string body;           // as it was sent
  int64_t prompt_tokens = 0;  // of the first prompt, as the two below
  int64_t output_tokens = 0;
  std::vector<int64_t> blocks;  // hashes of its blocks of kRecordedBlockTokens, the last shorter
};
inline constexpr int32_t kRecordedBlockTokens = 32;

// Whose names /metrics uses: "millrace:..." alone, or vLLM's beside them.
enum class MetricNames { kOwn, kAlsoVllm };

// A file of the dashboard, as it is and compressed; the bytes must outlive the server.
struct WebFile {
  std::string path;  // "/", "/app.js"
  std::string content_type;
  std::string_view bytes;
  std::string_view gzip;
};

// `millrace measure --quick`, which somebody else runs. Calls from any thread; all or none are set.
struct MeasureHooks {
  std::function<Status(const std::vector<std::string>& switches, double minutes)> start;
  std::function<MeasureState()> state;
  std::function<void()> cancel;
  std::function<std::string()> report;  // JSON; empty where none is done
};

// The page at / and what it asks for under /debug. The engine should keep a timeline.
struct DashboardConfig {
  std::vector<WebFile> files;
  // Questions to try, one JSON object a line (lab/task.h); may be empty; must outlive the server.
  std::string_view samples;
  // What the server was started with, to be shown: "kv-type", "bf16".
  std::vector<std::pair<std::string, std::string>> switches;
  // As the engine computes, for what is measured beside it.
  Isa isa = Isa::kScalar;
  KvType kv_type = KvType::kBf16;
  MeasureHooks measure;
  // The table of `millrace compare --json` that is built in; must outlive the server.
  std::string_view comparison;
};

struct ServerConfig {
  HttpConfig http;
  ApiKeys keys;
  // Names under which a server on loopback without keys may be asked (host_check.h); "*": any.
  std::vector<std::string> allowed_hosts;
  UnknownFields unknown_fields = UnknownFields::kIgnore;
  int workers = 2;
  size_t max_queued_work = 512;  // requests that wait for a worker; past it 503
  // Of keys without such a limit of their own: generations under way at once; past it 429. 0: no
  // limit; none without keys.
  int64_t max_requests_per_key = 0;
  // And their prompt tokens, unless one request alone has more; the same.
  int64_t max_tokens_per_key = 0;
  // Threads that turn tokens into text and JSON; 0: the engine's own does, to compare with.
  int formatters = 1;
  MetricNames metric_names = MetricNames::kOwn;
  bool open_metrics = false;  // /metrics wants no API key: numbers, and names of keys and models
  ReductionConfig reduction;  // of requests that carry passages and do not say
  std::map<std::string, std::string> stores;  // files of passages, by the name in requests
  std::string store_folder;      // of stores that requests make and change; empty: they cannot
  bool debug_endpoints = false;  // GET /debug/...; the engine should keep a timeline
  std::optional<DashboardConfig> dashboard;  // none: a few words at /
  std::string version = "unknown";
  std::function<void(const RequestRecord&)> log;  // from any thread; must be quick
  // Absent: nothing is kept. From any thread; must be quick.
  std::function<void(const RecordedTraffic&)> record;
  std::function<uint64_t()> random;  // from any thread; seeds and ids
};

// A model beside the one that generates; without a service there is none.
struct SideModel {
  std::string id;
  EmbeddingService* service = nullptr;
};

// What is served. The engine, the tokenizer and the services must outlive the Server; somebody else
// runs the engine.
struct ServedModel {
  std::string id;
  std::vector<std::string> aliases;  // further names that clients may use
  // The engine's adapters are models, too: "NAME", and "MODEL:NAME" with the id or an alias.
  const Tokenizer* tokenizer = nullptr;
  Engine* engine = nullptr;
  // {"messages", "tools", ...} as JSON -> the prompt's text; absent when the model has no chat
  // template.
  std::function<Result<std::string>(std::string_view chat_json)> render_chat;
  PassagePlace passage_place = PassagePlace::kSystemMessage;
  // A smaller model's -ln of the probability of each token but the first, of at most 512: what
  // pruned passages are scored with; absent: the engine's own model. From any thread; may wait.
  std::function<Result<std::vector<float>>(std::span<const TokenId> tokens)> surprises;
  AnswerStyle answer_style;  // of tool calls and reasoning: StyleOf in template_chat.h
  SideModel embedding;       // for /v1/embeddings
  SideModel rerank;          // for /v1/rerank; its model ranks
};

class Server {
 public:
  Server(ServerConfig config, ServedModel model);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Refuses an address that others can reach without keys, unless `exposure` says that this is
  // wanted, and a given store whose vectors are not the embedding model's.
  enum class Exposure { kNeedsKeys, kInsecure };
  Status Start(Exposure exposure = Exposure::kNeedsKeys);
  uint16_t port() const;
  Status ReloadTls();  // HttpServer's
  // Not ready any more; new generations are refused with 503; those under way go on for up to
  // `limit`; then everything is closed. Blocks. True when nothing had to be cut.
  bool Drain(std::chrono::milliseconds limit);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace millrace
