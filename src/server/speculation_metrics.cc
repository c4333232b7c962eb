#include "server/speculation_metrics.h"

#include <span>
#include <utility>

namespace millrace::server_internal {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(const std::string& name, const char* help) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = MetricType::Counter;
  return family;
}

MetricFamily Counter(const std::string& name, const char* help, double value) {
  MetricFamily family = Family(name, help);
  family.metric.emplace_back().counter.value = value;
  return family;
}

void AddLabelled(MetricFamily& family, const char* label, std::string of, int64_t value) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label.push_back({label, std::move(of)});
  metric.counter.value = static_cast<double>(value);
}

MetricFamily ByDrafter(const std::string& name, const char* help,
                       const std::array<int64_t, kDrafterKinds>& counts) {
  MetricFamily family = Family(name, help);
  for (size_t kind = 0; kind < kDrafterKinds; ++kind) {
    AddLabelled(family, "drafter", std::string(NameOf(static_cast<DrafterKind>(kind))),
                counts[kind]);
  }
  return family;
}

MetricFamily ByPosition(const std::string& name, const char* help,
                        const std::array<int64_t, kMaxDraft>& counts) {
  MetricFamily family = Family(name, help);
  for (size_t place = 0; place < counts.size(); ++place) {
    AddLabelled(family, "position", std::to_string(place), counts[place]);
  }
  return family;
}

}  // namespace

void AddSpeculationFamilies(const std::string& prefix, const SpeculationStats& s,
                            std::vector<MetricFamily>& families) {
  const auto name = [&](const char* end) { return prefix + "speculation_" + end; };
  families.push_back(
      Counter(name("drafts_total"), "Drafts verified.", static_cast<double>(s.verifications)));
  families.push_back(Counter(name("verified_tokens_total"),
                             "Tokens that verified drafts gave, the target's own among them.",
                             static_cast<double>(s.verified_tokens)));
  families.push_back(
      ByDrafter(name("draft_tokens_total"), "Drafted tokens that were verified.", s.drafted));
  families.push_back(
      ByDrafter(name("accepted_tokens_total"), "Drafted tokens that stayed.", s.accepted));
  families.push_back(ByPosition(name("draft_tokens_per_pos_total"),
                                "Drafted tokens that were verified, by place in the draft.",
                                s.drafted_at));
  families.push_back(ByPosition(name("accepted_tokens_per_pos_total"),
                                "Drafted tokens that stayed, by place in the draft.",
                                s.accepted_at));
  families.push_back(Counter(name("drafting_seconds_total"),
                             "Time that drafters took in steps that verified drafts.",
                             Seconds(s.drafting)));
  families.push_back(Counter(name("verifying_seconds_total"),
                             "Time of steps that verified drafts, without the drafting.",
                             Seconds(s.verifying)));
  MetricFamily saved = Family(name("saved_seconds"),
                              "What those steps took less, added up over the sequences, than plain "
                              "steps as measured lately; less than nothing: they lost time.");
  saved.type = MetricType::Gauge;
  saved.metric.emplace_back().gauge.value = Seconds(s.saved);
  families.push_back(std::move(saved));
}

}  // namespace millrace::server_internal
