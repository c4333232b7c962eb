#include "server/metrics.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

namespace millrace::server_internal {
namespace {

struct Metric {
  std::string_view name, type, help;
  double value;
};

}  // namespace

std::string MetricsText(const EngineStats& s) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  const double used = s.blocks_total > 0 ? number(s.blocks_held) / s.blocks_total : 0.0;
  const Metric metrics[] = {
      {"num_requests_running", "gauge", "Requests in the batch.", number(s.running)},
      {"num_requests_waiting", "gauge", "Requests in the queue.", number(s.waiting)},
      {"kv_cache_usage_perc", "gauge", "Share of KV blocks in use, from 0 to 1.", used},
      {"kv_blocks_total", "gauge", "KV blocks there are.", number(s.blocks_total)},
      {"kv_blocks_held", "gauge", "KV blocks of running requests and pinned ones.",
       number(s.blocks_held)},
      {"kv_blocks_cached", "gauge", "KV blocks kept for later, given up where needed.",
       number(s.blocks_cached)},
      {"kv_blocks_pinned", "gauge", "KV blocks of pinned prefixes.", number(s.blocks_pinned)},
      {"prefix_cache_queries", "counter", "Prompt tokens looked up in the prefix cache.",
       number(s.prefix_queries)},
      {"prefix_cache_hits", "counter", "Prompt tokens taken from the prefix cache.",
       number(s.prefix_hits)},
      {"prefix_cache_evictions", "counter", "KV blocks that the prefix cache gave up.",
       number(s.prefix_evictions)},
      {"prefix_cache_disk_bytes", "gauge", "Bytes of cached blocks on disk.", number(s.disk.bytes)},
      {"prefix_cache_disk_loads", "counter", "KV blocks loaded from disk.", number(s.disk.loaded)},
      {"prefix_cache_disk_writes", "counter", "KV blocks written to disk.", number(s.disk.written)},
      {"prefix_cache_disk_damaged", "counter", "Files on disk that were not right.",
       number(s.disk.damaged)},
      {"steps_total", "counter", "Steps of the engine.", number(s.steps)},
      {"computed_tokens_total", "counter", "Tokens that went through the model.",
       number(s.tokens_computed)},
      {"generation_tokens_total", "counter", "Tokens generated.", number(s.tokens_generated)},
      {"preemptions_total", "counter", "Requests that lost their KV blocks to others.",
       number(s.preemptions)},
      {"requests_finished_total", "counter", "Requests that ended, for whatever reason.",
       number(s.finished)}};
  std::string text;
  for (const Metric& m : metrics) {
    fmt::format_to(std::back_inserter(text),
                   "# HELP millrace:{0} {1}\n# TYPE millrace:{0} {2}\nmillrace:{0} {3}\n", m.name,
                   m.help, m.type, m.value);
  }
  return text;
}

}  // namespace millrace::server_internal
