// Metrics: the numbers behind GET /metrics, in Prometheus' text format. Internal to server/.
//
// Each is counted once, under Millrace's own name ("millrace:..."); vLLM's names ("vllm:...") are
// copies made while the text is. Invariant: prompt and generated tokens and the reasons of
// request_success_total add up to what the `usage` of the answers says; a request of n choices is n
// sequences, but its prompt counts once. What counts by adapter has one label for each adapter that
// the server was started with, so their number is known. From any thread.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "openai_api/feed_json.h"
#include "server/latency_window.h"
#include "server/server.h"

namespace millrace::server_internal {

class Metrics {
 public:
  // `model`: the label model_name of vLLM's names.
  // `quantiles`: whether the last latencies are kept for Load.
  // `adapters`: their names, in the order of their ids.
  Metrics(std::string model, MetricNames names, bool quantiles = false,
          const std::vector<std::string>& adapters = {});
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Of a sequence, as it goes; counted for its adapter too, if it has one.
  void PromptComputed(int64_t tokens, std::optional<AdapterId> adapter);
  void TokensGenerated(int64_t count, std::optional<AdapterId> adapter);
  void FirstToken(Duration since_arrival);
  void NextTokens(Duration since_last);
  // Its end. The times of those that came to an end of their own are observed.
  enum class Ending { kStop, kLength, kAbort, kError };
  void SequenceEnded(Ending ending, const RequestTimings& timings, Duration since_arrival);
  // Of a chat request's passages.
  void PassagesReduced(const ReducedPrompt& reduced, Duration took);
  // Of a request to a model beside the one that generates, when it is answered.
  enum class SideUse { kEmbedding, kRerank };
  void SideModelAnswered(SideUse use, int64_t texts, int64_t tokens, Duration since_arrival);
  // Of an HTTP request: its one log line. `adapter`: the name of that which it was for, or empty.
  void RequestLogged(EndState end, std::string_view adapter);

  std::string Text(const EngineStats& stats) const;
  // The same counts, for the dashboard.
  LoadFigures Load(const EngineStats& stats) const;

 private:
  prometheus::Counter& AddCounter(const char* name, const char* help,
                                  const prometheus::Labels& labels = {});
  prometheus::Histogram& AddHistogram(const char* name, const char* help);

  const std::string model_;
  const MetricNames names_;
  LatencyWindow last_first_tokens_, last_gaps_;
  prometheus::Registry registry_;
  prometheus::Counter* prompt_tokens_;
  prometheus::Counter* generated_tokens_;
  prometheus::Counter* passages_;
  prometheus::Counter* passages_dropped_;
  prometheus::Counter* passage_tokens_;
  prometheus::Counter* passage_tokens_dropped_;
  struct AdapterCounts {
    std::string name;
    prometheus::Counter* requests;
    prometheus::Counter* prompt_tokens;
    prometheus::Counter* generated_tokens;
  };
  std::vector<AdapterCounts> adapters_;  // by id
  std::map<Ending, prometheus::Counter*> endings_;
  std::map<EndState, prometheus::Counter*> logged_;
  struct SideCounts {
    prometheus::Counter* texts;
    prometheus::Counter* tokens;
    prometheus::Histogram* latency;
  };
  std::map<SideUse, SideCounts> side_models_;
  prometheus::Histogram* reduction_;
  prometheus::Histogram* first_token_;
  prometheus::Histogram* between_tokens_;
  prometheus::Histogram* end_to_end_;
  prometheus::Histogram* queued_;
  prometheus::Histogram* prefill_;
  prometheus::Histogram* decode_;
};

}  // namespace millrace::server_internal
