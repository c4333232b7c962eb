#include "lab/recommendation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "lab/statistics.h"

namespace millrace {
namespace {

constexpr double kTailAllowance = 0.10;  // of a 95th percentile over the baseline's
constexpr size_t kLeastForTail = 200;
constexpr double kLeastTailChange = 0.5;  // ms
constexpr double kOneSided95 = 1.644854;  // standard errors

// The 95th percentile over all rounds' requests; nothing for too few.
std::optional<double> PooledP95(const AblationState& state, Stage stage, std::string_view name,
                                const char* sample) {
  std::vector<double> all;
  for (const RunRecord& run : state.runs) {
    if (run.stage != stage || run.configuration != name) continue;
    const auto values = run.samples.find(sample);
    if (values != run.samples.end())
      all.insert(all.end(), values->second.begin(), values->second.end());
  }
  if (all.size() < kLeastForTail) return std::nullopt;
  return Quantile(std::move(all), 0.95);
}

double LargestMemory(const AblationState& state, std::string_view name) {
  double most = 0;
  for (const RunRecord& run : state.runs) {
    const auto value = run.values.find("memory_mib");
    if (run.configuration == name && value != run.values.end())
      most = std::max(most, value->second);
  }
  return most;
}

// ln(candidate / baseline) of the first metric; +infinity where it was not measured.
double MainEffect(const Finding& finding) {
  const MetricFinding* m = finding.Find(LabMetrics()[0].key);
  return m == nullptr ? INFINITY : std::log(m->effect.ratio);
}

LabConfiguration ServedConfiguration(const AblationPlan& plan) {
  LabConfiguration served{"as served", {}, {}, 0};
  for (const LabSwitch* s : plan.switches)
    served.on.push_back(std::string_view(s->served) == s->on);
  return served;
}

// The mean of d, or nothing.
std::optional<double> MeanDifference(const AblationState& state, std::string_view candidate,
                                     std::string_view baseline) {
  const auto d =
      PairedDifferences(state, Stage::kScreening, candidate, baseline, LabMetrics()[0].key);
  if (d.empty()) return std::nullopt;
  return std::log(PairedEffect(d).ratio);
}

// Why it is not shown that a candidate with other answers than the baseline's is as good; empty: it
// is.
std::string QualityDoubt(const AblationPlan& plan, const AblationResult& result,
                         const Analysis& analysis, const Finding& f, const AnalysisRules& rules) {
  const AnswerComparison& answers = f.answers;
  if (answers.judged > 0) {
    if (answers.quality.difference_interval.low >= -rules.quality_margin) return {};
    return fmt::format(
        "quality is not shown to hold: right answers {:+.1f} points ({:+.1f} to {:+.1f})",
        100 * answers.quality.difference, 100 * answers.quality.difference_interval.low,
        100 * answers.quality.difference_interval.high);
  }
  std::string why =
      fmt::format("{} of {} answers differ, and there are no expected answers to judge by",
                  answers.differing, answers.answers);
  const LabConfiguration* candidate = result.Find(f.candidate);
  const LabConfiguration* baseline = result.Find(f.baseline);
  if (candidate == nullptr || baseline == nullptr ||
      AnswerEffectBetween(*candidate, *baseline, plan.switches) != AnswerEffect::kPrecision) {
    return why;
  }
  for (const PredictionQuality& p : analysis.predictions) {
    if (p.configuration != f.candidate) continue;
    const ClusteredMean& kl = p.quality.divergence;
    const double bound = kl.mean + kOneSided95 * kl.standard_error;
    if (bound <= rules.divergence_limit) return {};
    return why + fmt::format("; the mean KL divergence may be {:.4f} nats, over {:g}", bound,
                             rules.divergence_limit);
  }
  return why;
}

}  // namespace

std::vector<std::string> RulesOf(const AnalysisRules& rules) {
  std::vector<std::string> list = {
      fmt::format("The verdict: \"helps\" or \"hurts\" where the one-sided 95 % bounds lie beyond "
                  "+-{:.0f} % and Holm's p is at most 0.05; \"no practical effect\" where they lie "
                  "within; else \"undecided\".",
                  100 * kPracticalBand),
      "Times that change by less than 0.5 ms, and memory by less than 1 MiB, count as within.",
      "Rejected: a configuration with failed requests, or with other greedy answers where its "
      "switches promise the same.",
      fmt::format("Rejected: one whose switches may change answers, unless the share of right "
                  "answers is shown to fall by at most {:.0f} points (95 % interval), or no answer "
                  "changed; without expected answers, and where the prompts are the same, unless "
                  "the mean KL divergence is shown to be at most {:g} nats (one-sided, 95 %).",
                  100 * rules.quality_margin, rules.divergence_limit),
      fmt::format("Rejected: one that hurts the first token or the time per token, or whose 95th "
                  "percentile of them (over at least {} requests) is over {:.0f} % above the "
                  "baseline's.",
                  kLeastForTail, 100 * kTailAllowance),
      fmt::format("Of what is left, the lowest end-to-end time; among those within {:.0f} % of it, "
                  "the one that differs least from what serve does by itself.",
                  100 * kPracticalBand),
      "If the baseline against itself is not null, nothing is recommended."};
  if (rules.memory_limit > 0) {
    list.push_back(fmt::format("Rejected: one that takes more than {} MiB at its peak.",
                               rules.memory_limit >> 20));
  }
  return list;
}

std::string RejectionOf(const AblationPlan& plan, const AblationResult& result,
                        const Analysis& analysis, const Finding& f, const AnalysisRules& rules) {
  if (f.failures > 0) return fmt::format("{} requests failed", f.failures);
  const AnswerComparison& answers = f.answers;
  if (answers.promised_equal && answers.differing > 0) {
    return fmt::format("{} of {} answers differ though the same were promised ({})",
                       answers.differing, answers.answers, answers.first_difference);
  }
  if (answers.differing > 0) {
    const std::string why = QualityDoubt(plan, result, analysis, f, rules);
    if (!why.empty()) return why;
  }
  for (const char* metric : {"ttft_ms", "tpot_ms"}) {
    const MetricFinding* m = f.Find(metric);
    if (m != nullptr && m->verdict == EffectVerdict::kHurts)
      return fmt::format("it hurts {} ({:+.1f} %)", metric, 100 * (m->effect.ratio - 1));
    const auto before = PooledP95(result.state, analysis.stage, f.baseline, metric);
    const auto after = PooledP95(result.state, analysis.stage, f.candidate, metric);
    if (before && after && *after > *before * (1 + kTailAllowance) &&
        *after - *before > kLeastTailChange)
      return fmt::format("95th percentile of {}: {:.1f} against {:.1f}", metric, *after, *before);
  }
  const double memory = LargestMemory(result.state, f.candidate);
  if (rules.memory_limit > 0 && memory * 1048576 > static_cast<double>(rules.memory_limit))
    return fmt::format("it takes {:.0f} MiB", memory);
  return {};
}

Recommendation Recommend(const AblationPlan& plan, const AblationResult& result,
                         const Analysis& analysis, const AnalysisRules& rules) {
  Recommendation r;
  if (!analysis.confirmed) {
    r.reasons.push_back("a first look ranks, and recommends nothing: run without --quick");
    return r;
  }
  if (!analysis.same_is_null) {
    r.reasons.push_back(
        "the baseline differs from itself: this machine is not quiet enough to recommend anything");
    return r;
  }
  std::vector<const Finding*> left;
  for (const Finding& f : analysis.candidates) {
    const std::string why_not = RejectionOf(plan, result, analysis, f, rules);
    if (why_not.empty()) {
      left.push_back(&f);
    } else {
      r.reasons.push_back(fmt::format("{} is rejected: {}", f.subject, why_not));
    }
  }
  if (left.empty()) {
    r.reasons.push_back("every candidate was rejected");
    return r;
  }
  double best = INFINITY;
  for (const Finding* f : left) best = std::min(best, MainEffect(*f));
  const auto distance = [&](const Finding* f) {
    const LabConfiguration* c = result.Find(f->candidate);
    return c == nullptr ? 1000 : DistanceFromServed(*c, plan.switches);
  };
  const Finding* chosen = nullptr;
  for (const Finding* f : left) {
    if (MainEffect(*f) > best + std::log1p(kPracticalBand)) continue;
    if (chosen == nullptr || distance(f) < distance(chosen)) chosen = f;
  }
  if (chosen == nullptr || MainEffect(*chosen) > std::log1p(kPracticalBand)) {
    r.reasons.push_back("no candidate is as quick as the baseline");
    return r;
  }
  r.configuration = chosen->candidate;
  if (const MetricFinding* m = chosen->Find(LabMetrics()[0].key)) {
    r.reasons.push_back(fmt::format(
        "{}: end to end {:+.1f} % against the baseline ({:+.1f} to {:+.1f} %), {}",
        chosen->candidate, 100 * (m->effect.ratio - 1), 100 * (m->effect.interval.low - 1),
        100 * (m->effect.interval.high - 1), NameOf(m->verdict)));
  }
  return r;
}

std::vector<LabConfiguration> ChooseCandidates(const AblationPlan& plan, const Workload& workload,
                                               const AblationState& state) {
  const bool judged = std::any_of(workload.requests.begin(), workload.requests.end(),
                                  [](const WorkloadRequest& r) { return !r.expected.empty(); });
  const LabConfiguration served = ServedConfiguration(plan);
  LabConfiguration best{
      "best of the screening", std::vector<bool>(plan.switches.size(), true), {}, 0};
  const double band = std::log1p(kPracticalBand);
  for (size_t i = 0; i < plan.switches.size(); ++i) {
    const auto with = MeanDifference(state, kAllOn, WithoutName(*plan.switches[i]));
    // Not what serve does by itself: it must earn its place. What it does: it must do harm to go.
    best.on[i] = with && (served.on[i] ? *with <= band : *with < -band) &&
                 (judged || plan.switches[i]->answers != AnswerEffect::kPrompt);
  }
  double least = -band;  // a model must be better than the one there is
  for (const std::string& model : plan.candidate_models) {
    const auto with = MeanDifference(state, ModelName(model), kAllOn);
    if (!with || *with >= least) continue;
    least = *with;
    best.model = model;
  }
  const LabConfiguration all{
      std::string(kAllOn), std::vector<bool>(plan.switches.size(), true), {}, 0};
  std::vector<LabConfiguration> candidates = {all};
  for (const LabConfiguration& next : {served, best}) {
    const auto same = [&](const LabConfiguration& c) {
      return c.on == next.on && c.model == next.model;
    };
    if (std::none_of(candidates.begin(), candidates.end(), same)) candidates.push_back(next);
  }
  return candidates;
}

}  // namespace millrace
