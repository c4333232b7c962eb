#include "server/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/speculation_metrics.h"

namespace millrace::server_internal {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr size_t kKeptLatencies = 2000;

constexpr std::string_view kOurs = "millrace:";
constexpr std::string_view kTheirs = "vllm:";

// Seconds. vLLM's bounds of time_to_first_token_seconds, and finer below: small models are quick.
constexpr double kBounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,  0.025,
                              0.05,   0.075,   0.1,    0.15,  0.2,    0.3,   0.4,   0.5,
                              0.75,   1.0,     1.5,    2.5,   5.0,    7.5,   10.0,  20.0,
                              40.0,   60.0,    80.0,   120.0, 160.0,  240.0, 640.0, 2560.0};

// What vLLM has too, and its name there where that is another.
constexpr std::pair<std::string_view, std::string_view> kShared[] = {
    {"num_requests_running", ""},
    {"num_requests_waiting", ""},
    {"kv_cache_usage_perc", ""},
    {"prefix_cache_queries", ""},
    {"prefix_cache_queries", "prefix_cache_queries_total"},  // as its client library writes it
    {"prefix_cache_hits", ""},
    {"prefix_cache_hits", "prefix_cache_hits_total"},
    {"preemptions_total", "num_preemptions_total"},
    {"speculation_drafts_total", "spec_decode_num_drafts_total"},
    {"speculation_draft_tokens_total", "spec_decode_num_draft_tokens_total"},
    {"speculation_accepted_tokens_total", "spec_decode_num_accepted_tokens_total"},
    {"speculation_accepted_tokens_per_pos_total", "spec_decode_num_accepted_tokens_per_pos_total"},
    {"prompt_tokens_total", ""},
    {"generation_tokens_total", ""},
    {"request_success_total", ""},
    {"time_to_first_token_seconds", ""},
    {"inter_token_latency_seconds", ""},
    {"e2e_request_latency_seconds", ""},
    {"request_queue_time_seconds", ""},
    {"request_prefill_time_seconds", ""},
    {"request_decode_time_seconds", ""}};

std::string NameOf(Metrics::Ending ending) {
  switch (ending) {
    case Metrics::Ending::kStop:
      return "stop";
    case Metrics::Ending::kLength:
      return "length";
    case Metrics::Ending::kAbort:
      return "abort";
    case Metrics::Ending::kError:
      return "error";
  }
  return "unknown";
}

MetricFamily EngineFamily(const char* name, MetricType type, const char* help, double value) {
  MetricFamily family;
  family.name = std::string(kOurs) + name;
  family.help = help;
  family.type = type;
  ClientMetric& metric = family.metric.emplace_back();
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return family;
}

std::vector<MetricFamily> EngineFamilies(const EngineStats& s) {
  std::vector<MetricFamily> families;
  const auto gauge = [&](const char* name, const char* help, auto value) {
    families.push_back(EngineFamily(name, MetricType::Gauge, help, static_cast<double>(value)));
  };
  const auto counter = [&](const char* name, const char* help, auto value) {
    families.push_back(EngineFamily(name, MetricType::Counter, help, static_cast<double>(value)));
  };
  gauge("num_requests_running", "Sequences in the batch.", s.running);
  gauge("num_requests_waiting", "Sequences in the queue.", s.waiting);
  gauge("kv_cache_usage_perc", "Share of KV blocks in use, from 0 to 1.",
        s.blocks_total > 0 ? static_cast<double>(s.blocks_held) / s.blocks_total : 0.0);
  gauge("kv_blocks_total", "KV blocks there are.", s.blocks_total);
  gauge("kv_blocks_held", "KV blocks of running sequences and pinned ones.", s.blocks_held);
  gauge("kv_blocks_cached", "KV blocks kept for later, given up where needed.", s.blocks_cached);
  gauge("kv_blocks_pinned", "KV blocks of pinned prefixes.", s.blocks_pinned);
  gauge("kv_memory_bytes", "Memory set aside for KV blocks, the draft model's too.", s.kv_bytes);
  gauge("kv_unused_slots", "Positions of running sequences' blocks that nothing is in yet.",
        s.kv.unused_slots);
  gauge("kv_unusable_blocks", "Free KV blocks that no sequence can have (contiguous memory).",
        s.kv.unusable_blocks);
  counter("kv_compactions_total", "Times that sequences were moved together (contiguous memory).",
          s.kv.compactions);
  counter("kv_held_slot_steps_total", "Positions of held KV blocks, summed over the steps.",
          s.kv_over_steps.held);
  counter("kv_unused_slot_steps_total", "kv_unused_slots, summed over the steps.",
          s.kv_over_steps.unused);
  counter("kv_unusable_slot_steps_total", "Positions of kv_unusable_blocks, over the steps.",
          s.kv_over_steps.unusable);
  counter("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", s.prefix_queries);
  counter("prefix_cache_hits", "Prompt tokens taken from the prefix cache.", s.prefix_hits);
  counter("prefix_cache_evictions", "KV blocks that the prefix cache gave up.", s.prefix_evictions);
  gauge("prefix_cache_disk_bytes", "Bytes of cached blocks on disk.", s.disk.bytes);
  counter("prefix_cache_disk_loads", "KV blocks loaded from disk.", s.disk.loaded);
  counter("prefix_cache_disk_writes", "KV blocks written to disk.", s.disk.written);
  counter("prefix_cache_disk_damaged", "Files on disk that were not right.", s.disk.damaged);
  counter("steps_total", "Steps of the engine.", s.steps);
  counter("computed_tokens_total", "Tokens that went through the model.", s.tokens_computed);
  counter("attention_seconds_total", "Time in attention.", s.model.attention_seconds);
  counter("attention_intermediate_bytes_total",
          "Bytes of intermediate results that attention wrote to memory (0: flash).",
          s.model.attention_bytes_written);
  counter("preemptions_total", "Times that a sequence lost its KV blocks to others.",
          s.preemptions);
  counter("deadlines_missed_total", "Sequences that ended because of their deadline.", s.expired);
  gauge("swap_blocks_total", "KV blocks that preempted sequences may keep.", s.swap_blocks);
  gauge("swap_blocks_held", "KV blocks that preempted sequences keep.", s.swap_blocks_held);
  counter("swapped_out_blocks_total", "KV blocks copied to the swap memory.", s.swapped_out);
  counter("swapped_in_blocks_total", "KV blocks copied back.", s.swapped_in);
  counter("sequences_finished_total", "Sequences that left the engine, for whatever reason.",
          s.finished);
  AddSpeculationFamilies(std::string(kOurs), s.speculation, families);
  return families;
}

// `families` and, behind them, copies of those that vLLM has, under its names and with its label.
void AddVllmNames(std::vector<MetricFamily>& families, const std::string& model) {
  std::vector<MetricFamily> copies;
  for (const auto& [ours, theirs] : kShared) {
    const std::string name = std::string(kOurs).append(ours);
    const auto found = std::find_if(families.begin(), families.end(),
                                    [&](const MetricFamily& f) { return f.name == name; });
    if (found == families.end()) continue;
    MetricFamily copy = *found;
    copy.name = std::string(kTheirs).append(theirs.empty() ? ours : theirs);
    for (ClientMetric& metric : copy.metric) metric.label.push_back({"model_name", model});
    copies.push_back(std::move(copy));
  }
  families.insert(families.end(), std::make_move_iterator(copies.begin()),
                  std::make_move_iterator(copies.end()));
}

}  // namespace

Metrics::Metrics(std::string model, MetricNames names, bool quantiles,
                 const std::vector<std::string>& adapters)
    : model_(std::move(model)),
      names_(names),
      last_first_tokens_(quantiles ? kKeptLatencies : 0),
      last_gaps_(quantiles ? kKeptLatencies : 0),
      prompt_tokens_(&AddCounter("prompt_tokens_total",
                                 "Tokens of prompts that gave their first token; of several "
                                 "choices once.")),
      generated_tokens_(&AddCounter("generation_tokens_total", "Tokens generated.")),
      passages_(&AddCounter("reduction_passages_total", "Passages that chat requests carried.")),
      passages_dropped_(&AddCounter("reduction_passages_dropped_total",
                                    "Of them, those that did not go into a prompt.")),
      passage_tokens_(&AddCounter("reduction_tokens_total", "Tokens of those passages.")),
      passage_tokens_dropped_(
          &AddCounter("reduction_tokens_dropped_total", "Of them, those of dropped passages.")),
      reduction_(&AddHistogram("reduction_seconds", "What choosing a request's passages took.")),
      first_token_(&AddHistogram("time_to_first_token_seconds",
                                 "From the arrival of the HTTP request to its first token.")),
      between_tokens_(&AddHistogram("inter_token_latency_seconds",
                                    "Between one emission of tokens of a sequence and the next.")),
      end_to_end_(&AddHistogram("e2e_request_latency_seconds",
                                "From the arrival of the HTTP request to the sequence's end.")),
      queued_(&AddHistogram("request_queue_time_seconds",
                            "From submission to the first step that computes the sequence.")),
      prefill_(
          &AddHistogram("request_prefill_time_seconds", "From the first step to the first token.")),
      decode_(&AddHistogram("request_decode_time_seconds",
                            "From the first token to the sequence's end.")) {
  side_models_ = {
      {SideUse::kEmbedding,
       {&AddCounter("embedding_texts_total", "Texts that /v1/embeddings has answered."),
        &AddCounter("embedding_tokens_total", "Their tokens."),
        &AddHistogram("embedding_request_seconds", "From their request's arrival to its answer.")}},
      {SideUse::kRerank,
       {&AddCounter("rerank_documents_total", "Documents that /v1/rerank has ranked."),
        &AddCounter("rerank_tokens_total", "Their tokens, with the query's for each."),
        &AddHistogram("rerank_request_seconds", "From their request's arrival to its answer.")}}};
  for (const std::string& name : adapters) {
    const prometheus::Labels labels = {{"adapter", name}};
    adapters_.push_back(
        {name,
         &AddCounter("adapter_requests_total", "HTTP requests for an adapter, by its name.",
                     labels),
         &AddCounter("adapter_prompt_tokens_total",
                     "Of prompt_tokens_total, those of sequences under the adapter.", labels),
         &AddCounter("adapter_generation_tokens_total",
                     "Of generation_tokens_total, those of sequences under the adapter.", labels)});
  }
  for (const Ending e : {Ending::kStop, Ending::kLength, Ending::kAbort, Ending::kError}) {
    endings_[e] = &AddCounter("request_success_total",
                              "Sequences that ended; abort: the client left or the server stopped.",
                              {{"finished_reason", NameOf(e)}});
  }
  for (const EndState e :
       {EndState::kCompleted, EndState::kRefused, EndState::kCancelled, EndState::kFailed}) {
    logged_[e] = &AddCounter("http_requests_total", "HTTP requests, by the state they ended in.",
                             {{"end", std::string(millrace::NameOf(e))}});
  }
}

prometheus::Counter& Metrics::AddCounter(const char* name, const char* help,
                                         const prometheus::Labels& labels) {
  return prometheus::BuildCounter()
      .Name(std::string(kOurs) + name)
      .Help(help)
      .Register(registry_)
      .Add(labels);
}

prometheus::Histogram& Metrics::AddHistogram(const char* name, const char* help) {
  return prometheus::BuildHistogram()
      .Name(std::string(kOurs) + name)
      .Help(help)
      .Register(registry_)
      .Add({}, prometheus::Histogram::BucketBoundaries(std::begin(kBounds), std::end(kBounds)));
}

void Metrics::PromptComputed(int64_t tokens, std::optional<AdapterId> adapter) {
  const auto count = static_cast<double>(tokens);
  prompt_tokens_->Increment(count);
  if (adapter) adapters_.at(static_cast<size_t>(adapter->value)).prompt_tokens->Increment(count);
}

void Metrics::TokensGenerated(int64_t tokens, std::optional<AdapterId> adapter) {
  const auto count = static_cast<double>(tokens);
  generated_tokens_->Increment(count);
  if (adapter) adapters_.at(static_cast<size_t>(adapter->value)).generated_tokens->Increment(count);
}

void Metrics::FirstToken(Duration since_arrival) {
  first_token_->Observe(Seconds(since_arrival));
  last_first_tokens_.Add(since_arrival);
}

void Metrics::NextTokens(Duration since_last) {
  between_tokens_->Observe(Seconds(since_last));
  last_gaps_.Add(since_last);
}

void Metrics::SequenceEnded(Ending ending, const RequestTimings& timings, Duration since_arrival) {
  endings_.at(ending)->Increment();
  if (ending != Ending::kStop && ending != Ending::kLength) return;
  end_to_end_->Observe(Seconds(since_arrival));
  queued_->Observe(Seconds(timings.queued));
  prefill_->Observe(Seconds(timings.prefill));
  decode_->Observe(Seconds(timings.decode));
}

void Metrics::PassagesReduced(const ReducedPrompt& reduced, Duration took) {
  passages_->Increment(static_cast<double>(reduced.passages()));
  passages_dropped_->Increment(static_cast<double>(reduced.dropped()));
  passage_tokens_->Increment(static_cast<double>(reduced.tokens_before));
  passage_tokens_dropped_->Increment(
      static_cast<double>(reduced.tokens_before - reduced.tokens_after));
  reduction_->Observe(Seconds(took));
}

void Metrics::SideModelAnswered(SideUse use, int64_t texts, int64_t tokens,
                                Duration since_arrival) {
  const SideCounts& counts = side_models_.at(use);
  counts.texts->Increment(static_cast<double>(texts));
  counts.tokens->Increment(static_cast<double>(tokens));
  counts.latency->Observe(Seconds(since_arrival));
}

void Metrics::RequestLogged(EndState end, std::string_view adapter) {
  logged_.at(end)->Increment();
  for (const AdapterCounts& counts : adapters_) {
    if (counts.name == adapter) counts.requests->Increment();
  }
}

LoadFigures Metrics::Load(const EngineStats& stats) const {
  LoadFigures load;
  load.engine = stats;
  load.prompt_tokens = static_cast<int64_t>(prompt_tokens_->Value());
  load.generated_tokens = static_cast<int64_t>(generated_tokens_->Value());
  for (const auto& [end, counter] : logged_)
    load.ended[std::string(millrace::NameOf(end))] = static_cast<int64_t>(counter->Value());
  load.first_token = last_first_tokens_.Figures();
  load.between_tokens = last_gaps_.Figures();
  return load;
}

std::string Metrics::Text(const EngineStats& stats) const {
  std::vector<MetricFamily> families = registry_.Collect();
  std::vector<MetricFamily> engine = EngineFamilies(stats);
  families.insert(families.end(), std::make_move_iterator(engine.begin()),
                  std::make_move_iterator(engine.end()));
  if (names_ == MetricNames::kAlsoVllm) AddVllmNames(families, model_);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace millrace::server_internal
