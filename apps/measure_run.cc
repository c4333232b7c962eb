#include "measure_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "lab/request_body.h"
#include "lab/retrieval_quality.h"
#include "lab/server_child.h"
#include "lab/server_counters.h"
#include "lab/statistics.h"
#include "lab/workload_generators.h"

namespace millrace {
namespace {

constexpr size_t kWarmUps = 4;
constexpr int kQuantileSteps = 20;

// Keeps gaps as they were, but at the pace of the whole workload: half of the requests over the
// same time would be half of the load.
void KeepPace(const Workload& whole, std::vector<ReplayRequest>& requests) {
  if (requests.size() < 2 || whole.requests.size() < 2) return;
  const double first = requests.front().arrival_seconds;
  const double own =
      (requests.back().arrival_seconds - first) / static_cast<double>(requests.size() - 1);
  const double pace =
      whole.requests.back().arrival_seconds / static_cast<double>(whole.requests.size() - 1);
  const double scale = own > 0 ? pace / own : 1;
  for (ReplayRequest& r : requests) r.arrival_seconds = (r.arrival_seconds - first) * scale;
}

}  // namespace

std::string Described(const Traffic& t) {
  if (t.arrivals == "closed") return fmt::format("closed loop, {} clients", t.clients);
  if (t.arrivals == "recorded") return "open loop, arrivals as recorded";
  return fmt::format("open loop, {} arrivals, {:g} requests a second", t.arrivals, t.rate);
}

std::vector<std::string> FlagsFor(const ServerSetup& setup, const LabConfiguration& configuration,
                                  const SwitchList& switches) {
  std::vector<std::string> flags;
  const std::string& model = configuration.model.empty() ? setup.model : configuration.model;
  if (!model.empty()) flags.push_back(model);
  for (std::string& flag : FlagsOf(configuration, switches)) flags.push_back(std::move(flag));
  if (!setup.draft.empty()) {
    flags.emplace_back("--draft");
    flags.push_back(setup.draft);
  }
  flags.insert(flags.end(), setup.more_flags.begin(), setup.more_flags.end());
  return flags;
}

RunLauncher::RunLauncher(ServerSetup setup, SwitchList switches, const Workload& workload,
                         std::vector<int32_t> plain_tokens, Traffic traffic, ServiceTargets targets,
                         int32_t max_tokens)
    : setup_(std::move(setup)),
      switches_(std::move(switches)),
      workload_(workload),
      plain_tokens_(std::move(plain_tokens)),
      traffic_(std::move(traffic)),
      targets_(targets),
      max_tokens_(max_tokens) {}

std::vector<ReplayRequest> RunLauncher::Requests(const std::vector<size_t>& items) const {
  std::vector<ReplayRequest> requests;
  const BodyOptions options{max_tokens_, plain_tokens_};
  for (const size_t i : items)
    requests.push_back(ToReplayRequest(workload_.requests[i], i, options));
  if (traffic_.arrivals == "recorded") {
    KeepPace(workload_, requests);
  } else if (traffic_.arrivals != "closed") {
    Workload drawn;
    drawn.requests.resize(requests.size());
    SetArrivals(drawn,
                traffic_.arrivals == "poisson" ? ArrivalPattern::kPoisson : ArrivalPattern::kBursty,
                traffic_.rate, traffic_.seed + (items.empty() ? 0 : items.front()));
    for (size_t i = 0; i < requests.size(); ++i)
      requests[i].arrival_seconds = drawn.requests[i].arrival_seconds;
  }
  return requests;
}

Result<RunRecord> RunLauncher::Run(const LabConfiguration& configuration,
                                   const std::vector<size_t>& items) const {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const auto server,
                   ServerChild::Start(setup_.binary, FlagsFor(setup_, configuration, switches_),
                                      setup_.log_file));
  RunRecord record;
  record.values["start_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ReplayOptions options;
  options.port = server->port();
  options.clients = traffic_.clients;
  ASSIGN_OR_RETURN(const ReplayRun warm,
                   ReplayRequests(WarmUpRequests(kWarmUps, traffic_.seed), options));
  if (!warm.answers.front().ok())
    return Error{"the server does not answer: " + warm.answers.front().failure,
                 ErrorKind::kInternal};
  record.values["idle_memory_mib"] = static_cast<double>(server->memory().resident) / 1048576;
  options.loop = traffic_.arrivals == "closed" ? ReplayLoop::kClosed : ReplayLoop::kOpen;
  const double cpu_before = server->cpu_seconds();
  std::optional<Handicap> handicap;
  if (configuration.handicap_percent > 0)
    handicap.emplace(server->id(), configuration.handicap_percent);
  ASSIGN_OR_RETURN(const ServerCounters counters, ReadCounters(server->port()));
  ASSIGN_OR_RETURN(const ReplayRun run, ReplayRequests(Requests(items), options));
  handicap.reset();
  ASSIGN_OR_RETURN(const ServerCounters counters_after, ReadCounters(server->port()));
  record.values.merge(MetricsBetween(counters, counters_after));
  ASSIGN_OR_RETURN(const auto estimates, ReadEstimates(server->port()));
  for (const auto& [flag, ratio] : estimates) record.values["estimated_e2e/" + flag] = ratio;
  const double cpu = server->cpu_seconds() - cpu_before;
  const RunMetrics metrics = Measure(run, targets_);
  FillRecord(run, metrics, targets_, record);
  if (const RetrievalQuality q = MeasureRetrieval(workload_, items, run.answers); q.requests > 0) {
    record.values["answer_coverage"] = q.coverage;
    record.values["passage_recall"] = q.recall;
    record.values["kept_passages"] = q.kept;
    record.values["passage_requests"] = static_cast<double>(q.requests);
  }
  if (run.seconds > 0) record.values["server_cpu_share"] = cpu / run.seconds;
  record.values["memory_mib"] = static_cast<double>(server->memory().peak) / 1048576;
  server->Stop();
  return record;
}

Result<RunLauncher::Start> RunLauncher::TryStart(const LabConfiguration& configuration) const {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const auto server,
                   ServerChild::Start(setup_.binary, FlagsFor(setup_, configuration, switches_),
                                      setup_.log_file));
  const int32_t context = server->context_tokens();
  server->Stop();
  return Start{std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
               context};
}

void FillRecord(const ReplayRun& run, const RunMetrics& m, const ServiceTargets& targets,
                RunRecord& record) {
  const auto mean = [&](const char* name, const LatencySummary& s) {
    if (s.count > 0) record.values[name] = s.mean;
    if (s.p95)
      record.values[std::string(name).insert(std::string(name).size() - 2, "p95_")] = *s.p95;
  };
  mean("ttft_ms", m.ttft);
  mean("ttft_from_send_ms", m.ttft_from_send);
  mean("tpot_ms", m.tpot);
  mean("itl_ms", m.itl);
  mean("stall_ms", m.stall);
  mean("e2e_ms", m.e2e);
  mean("queued_ms", m.queued);
  mean("prefill_ms", m.prefill);
  mean("decode_ms", m.decode);
  record.values["seconds"] = m.seconds;
  if (m.computing > 0 && m.computing + std::min(m.cached_saved, m.speculation_saved) > 0) {
    record.values["computing_ms"] = m.computing / static_cast<double>(m.whole);
    record.values["estimated/prefix-cache"] = m.computing / (m.computing + m.cached_saved);
    record.values["estimated/speculate"] = m.computing / (m.computing + m.speculation_saved);
  }
  record.values["throughput"] = m.throughput;
  if (targets.ttft_ms || targets.itl_ms || targets.e2e_ms) {
    record.values["goodput"] = m.goodput;
    record.values["within_targets"] = m.within_targets;
  }
  record.values["prefix_hit"] = m.prefix_hit;
  record.values["accepted"] = m.accepted;
  record.values["drafted_tokens"] = static_cast<double>(m.drafted_tokens);
  record.values["prompt_tokens"] = static_cast<double>(m.prompt_tokens);
  if (m.whole > 0) {
    record.values["prompt_tokens_each"] =
        static_cast<double>(m.prompt_tokens) / static_cast<double>(m.whole);
  }
  record.values["output_tokens"] = static_cast<double>(m.output_tokens);
  record.values["tokens_per_emission"] = m.tokens_per_emission;
  record.values["client_cores_per_100_streams"] = m.client_cores_per_100_streams;
  record.failures = m.failures;
  std::vector<double> gaps;
  for (const ReplayAnswer& a : run.answers) {
    record.texts.push_back(a.ok() ? a.text : "");
    if (!a.ok() || a.emissions.empty()) continue;
    record.samples["ttft_ms"].push_back(1e3 * (a.emissions.front() - a.scheduled));
    if (a.output_tokens >= 2) {
      record.samples["tpot_ms"].push_back(1e3 * (a.emissions.back() - a.emissions.front()) /
                                          static_cast<double>(a.output_tokens - 1));
    }
    for (size_t i = 1; i < a.emissions.size(); ++i)
      gaps.push_back(1e3 * (a.emissions[i] - a.emissions[i - 1]));
  }
  for (int k = 0; k <= kQuantileSteps && !gaps.empty(); ++k)
    record.itl_quantiles.push_back(Quantile(gaps, static_cast<double>(k) / kQuantileSteps));
}

}  // namespace millrace
