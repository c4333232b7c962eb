#include "lab/replay_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "lab/statistics.h"

namespace millrace {
namespace {

constexpr size_t kLeastForP95 = 200, kLeastForP99 = 1000;

// Milliseconds of "500ms", "2s" or "500".
std::optional<double> DurationMs(std::string_view text) {
  double scale = 1;
  if (text.ends_with("ms")) {
    text.remove_suffix(2);
  } else if (text.ends_with("s")) {
    text.remove_suffix(1);
    scale = 1000;
  }
  double number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || end != text.data() + text.size() || !(number > 0))
    return std::nullopt;
  return number * scale;
}

bool Meets(const ReplayAnswer& answer, const ServiceTargets& targets) {
  const auto& t = answer.emissions;
  if (t.empty()) return false;
  if (targets.ttft_ms && 1e3 * (t.front() - answer.scheduled) > *targets.ttft_ms) return false;
  if (targets.e2e_ms && 1e3 * (t.back() - answer.scheduled) > *targets.e2e_ms) return false;
  if (targets.itl_ms && t.size() > 1) {
    const double gap = 1e3 * (t.back() - t.front()) / static_cast<double>(t.size() - 1);
    if (gap > *targets.itl_ms) return false;
  }
  return true;
}

}  // namespace

Result<ServiceTargets> ParseTargets(std::string_view text) {
  ServiceTargets targets;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t equals = std::min(part.find('='), part.size());
    const std::string_view name = part.substr(0, equals);
    const auto value = DurationMs(part.substr(std::min(equals + 1, part.size())));
    std::optional<double>* target = name == "ttft"  ? &targets.ttft_ms
                                    : name == "itl" ? &targets.itl_ms
                                    : name == "e2e" ? &targets.e2e_ms
                                                    : nullptr;
    if (target == nullptr || !value)
      return Error{fmt::format("'{}' is no target: give such as ttft=500ms,itl=80ms,e2e=2s", part)};
    *target = value;
  }
  return targets;
}

LatencySummary SummarizeLatency(const std::vector<double>& values) {
  LatencySummary s;
  s.count = values.size();
  if (values.empty()) return s;
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  s.median = Median(values);
  if (values.size() >= kLeastForP95) s.p95 = Quantile(values, 0.95);
  if (values.size() >= kLeastForP99) s.p99 = Quantile(values, 0.99);
  return s;
}

RunMetrics Measure(const ReplayRun& run, const ServiceTargets& targets) {
  RunMetrics m;
  m.requests = run.answers.size();
  m.client_cores_per_100_streams = run.cores_per_100_streams();
  std::vector<double> ttft, from_send, tpot, itl, stall, e2e, queued, prefill, decode;
  double first = 0, last = 0;
  int64_t cached = 0, accepted = 0, emissions = 0, good = 0;
  for (size_t i = 0; i < run.answers.size(); ++i) {
    const ReplayAnswer& a = run.answers[i];
    first = i == 0 ? a.scheduled : std::min(first, a.scheduled);
    last = std::max(last, a.end);
    if (!a.ok()) {
      ++m.failures[a.failure];
      continue;
    }
    ++m.whole;
    m.prompt_tokens += a.prompt_tokens;
    m.output_tokens += a.output_tokens;
    m.drafted_tokens += a.drafted_tokens;
    m.computing += a.prefill_ms + a.decode_ms;
    m.cached_saved += a.cached_saved_ms;
    m.speculation_saved += a.speculation_saved_ms;
    cached += a.cached_tokens;
    accepted += a.accepted_tokens;
    emissions += static_cast<int64_t>(a.emissions.size());
    good += Meets(a, targets) ? 1 : 0;
    queued.push_back(a.queued_ms);
    prefill.push_back(a.prefill_ms);
    decode.push_back(a.decode_ms);
    const auto& t = a.emissions;
    if (t.empty()) continue;
    ttft.push_back(1e3 * (t.front() - a.scheduled));
    from_send.push_back(1e3 * (t.front() - a.sent));
    e2e.push_back(1e3 * (t.back() - a.scheduled));
    if (a.output_tokens >= 2)
      tpot.push_back(1e3 * (t.back() - t.front()) / static_cast<double>(a.output_tokens - 1));
    double longest = 0;
    for (size_t k = 1; k < t.size(); ++k) {
      itl.push_back(1e3 * (t[k] - t[k - 1]));
      longest = std::max(longest, itl.back());
    }
    if (t.size() > 1) stall.push_back(longest);
  }
  m.ttft = SummarizeLatency(ttft);
  m.ttft_from_send = SummarizeLatency(from_send);
  m.tpot = SummarizeLatency(tpot);
  m.itl = SummarizeLatency(itl);
  m.stall = SummarizeLatency(stall);
  m.e2e = SummarizeLatency(e2e);
  m.queued = SummarizeLatency(queued);
  m.prefill = SummarizeLatency(prefill);
  m.decode = SummarizeLatency(decode);
  const auto share = [](int64_t part, int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  m.seconds = last - first;
  if (m.seconds > 0) {
    m.throughput = static_cast<double>(m.output_tokens) / m.seconds;
    m.goodput = static_cast<double>(good) / m.seconds;
  }
  m.within_targets = share(good, static_cast<int64_t>(m.whole));
  m.tokens_per_emission = share(m.output_tokens, emissions);
  m.prefix_hit = share(cached, m.prompt_tokens);
  m.accepted = share(accepted, m.drafted_tokens);
  return m;
}

}  // namespace millrace
