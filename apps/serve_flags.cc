#include "serve_flags.h"

#include <cstdint>

namespace millrace {
namespace {

void AddListeningFlags(Verb& verb, ServeFlags& flags) {
  verb.Option("--host", flags.host, "IP address to listen on").Env("MILLRACE_HOST").ShowDefault();
  verb.Option("--port", flags.port, "0: the system chooses").Env("MILLRACE_PORT").ShowDefault();
  verb.Option("--api-key", flags.api_keys, "a key that clients must send; repeatable")
      .Env("MILLRACE_API_KEY");
  verb.Option("--api-key-file", flags.api_key_file,
              "a file with one key per line, or its sha256:HASH, and limits: README")
      .Env("MILLRACE_API_KEY_FILE");
  verb.Option("--cors-origin", flags.cors_origins,
              "a web page's origin, such as https://app.example, whose scripts may use the server; "
              "* for any; repeatable")
      .Env("MILLRACE_CORS_ORIGIN");
  verb.Option("--allowed-host", flags.allowed_hosts,
              "a name besides this machine's own under which a server without keys may be asked, "
              "as by a proxy; * for any; repeatable")
      .Env("MILLRACE_ALLOWED_HOST");
  verb.Option("--max-connections", flags.max_connections, "open connections; past it 503 and close")
      .Env("MILLRACE_MAX_CONNECTIONS")
      .ShowDefault()
      .Range(1, 1 << 20);
  verb.Switch("--insecure", flags.insecure, "listen beyond loopback without API keys");
  verb.Switch("--strict", flags.strict, "refuse unknown fields in requests");
  verb.Option("--served-model-name", flags.served_names,
              "the model's name for clients; further ones are aliases");
}

void AddLimitFlags(Verb& verb, ServeFlags& flags) {
  verb.Option("--max-queue", flags.max_queue, "requests that may wait; past it 503")
      .Env("MILLRACE_MAX_QUEUE")
      .ShowDefault()
      .Range(1, 1 << 20);
  verb.Option("--max-queued-tokens", flags.max_queued_tokens,
              "prompt tokens that may wait, unless one request alone has more; past it 503")
      .Env("MILLRACE_MAX_QUEUED_TOKENS")
      .ShowDefault()
      .Size()
      .Range(int64_t{1}, int64_t{1} << 40);
  verb.Option("--max-requests-per-key", flags.max_requests_per_key,
              "requests of one API key under way at once, unless the key file says more or less; "
              "past it 429; 0: no limit")
      .Env("MILLRACE_MAX_REQUESTS_PER_KEY")
      .ShowDefault()
      .Range(int64_t{0}, int64_t{1} << 30);
  verb.Option("--max-tokens-per-key", flags.max_tokens_per_key,
              "prompt tokens of one API key under way at once, unless one request alone has "
              "more; past it 429; 0: no limit")
      .Env("MILLRACE_MAX_TOKENS_PER_KEY")
      .ShowDefault()
      .Size()
      .Range(int64_t{0}, int64_t{1} << 40);
  verb.Option("--drain-timeout", flags.drain_timeout,
              "seconds that running requests get after SIGTERM")
      .Env("MILLRACE_DRAIN_TIMEOUT")
      .ShowDefault()
      .Range(0, 86400);
}

void AddReportFlags(Verb& verb, ServeFlags& flags) {
  verb.Option("--log-level", flags.log_level, "trace, debug, info, warn, error or off")
      .Env("MILLRACE_LOG_LEVEL")
      .ShowDefault()
      .OneOf({"trace", "debug", "info", "warn", "error", "off"});
  verb.Option("--log-format", flags.log_format, "text, or json: one JSON object per line")
      .Env("MILLRACE_LOG_FORMAT")
      .ShowDefault()
      .OneOf({"text", "json"});
  verb.Option("--metrics-compat", flags.metrics_compat,
              "vllm: /metrics has vLLM's names beside Millrace's own")
      .Env("MILLRACE_METRICS_COMPAT")
      .ShowDefault()
      .OneOf({"off", "vllm"});
  verb.Switch("--open-metrics", flags.open_metrics,
              "/metrics without an API key, for collectors that cannot send one")
      .Env("MILLRACE_OPEN_METRICS");
}

void AddPassageFlags(Verb& verb, ServeFlags& flags) {
  verb.Option("--store", flags.stores,
              "NAME=FILE: a store (millrace index) that requests may name; repeatable");
  verb.Option("--store-dir", flags.store_dir,
              "a folder of stores that requests make, fill and delete: /v1/vector_stores; "
              "off where not given")
      .Env("MILLRACE_STORE_DIR");
  verb.Option("--reduce", flags.reduce,
              "auto, off or top:K: which of a request's passages go into its prompt")
      .Env("MILLRACE_REDUCE")
      .ShowDefault();
  verb.Option("--reduce-prune", flags.reduce_prune,
              "the share of their tokens that kept passages keep: words that the draft model (or, "
              "without one, the model) could have guessed are left out; 1: none")
      .Env("MILLRACE_REDUCE_PRUNE")
      .ShowDefault()
      .RealRange(0.05, 1);
}

void AddInsightFlags(Verb& verb, ServeFlags& flags) {
  verb.Switch("--debug-endpoints", flags.debug_endpoints,
              "GET /debug/timeline and /debug/kv: what the last steps did and what each KV "
              "block is for, to be drawn")
      .Env("MILLRACE_DEBUG_ENDPOINTS");
  verb.Option("--dashboard", flags.dashboard,
              "on: the page at / and what it asks for under /debug; off: neither")
      .Env("MILLRACE_DASHBOARD")
      .ShowDefault()
      .OneOf({"on", "off"});
  verb.Option("--record", flags.record,
              "append every completed request to this file, as a workload for `millrace measure`")
      .Env("MILLRACE_RECORD")
      .Placeholder("FILE");
  verb.Option("--record-texts", flags.record_texts,
              "on; off: only lengths, times and hashes of prompt blocks are recorded")
      .Env("MILLRACE_RECORD_TEXTS")
      .ShowDefault()
      .OneOf({"on", "off"});
}

}  // namespace

void AddServeFlags(Verb& verb, ServeFlags& flags) {
  AddModelFlags(verb, flags.model);
  AddBatchingFlag(verb, flags.model);
  AddPrefixCacheFlags(verb, flags.model);
  flags.model.speculate = "auto";
  AddSpeculationFlags(verb, flags.model);
  AddSideModelFlags(verb, flags.side_models);
  AddAdapterFlag(verb, flags.model);
  AddTlsFlags(verb, flags.tls);
  AddListeningFlags(verb, flags);
  AddLimitFlags(verb, flags);
  AddReportFlags(verb, flags);
  AddPassageFlags(verb, flags);
  AddInsightFlags(verb, flags);
}

}  // namespace millrace
