#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lab/live_estimates.h"
#include "lab/report.h"
#include "lab/report_charts.h"
#include "lab/report_tables.h"

namespace millrace {
namespace {

using lab_internal::MeanValue;
using lab_internal::StageNames;

constexpr char kStyle[] = R"(
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1060px;margin:0 auto;padding:1.5rem}
h1{font-size:1.7rem;margin:0 0 .3rem}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
p.lead{color:#555;margin:.2rem 0}table{border-collapse:collapse;width:100%;font-size:.86rem}
th,td{padding:.35rem .5rem;border-bottom:1px solid #e3e6e8;text-align:left;vertical-align:top}
td.n{white-space:nowrap}small{color:#666;white-space:nowrap}
.helps{background:#e3f3e8}.hurts{background:#fae3e3}.none{background:#eef1f3}
.box{border:1px solid #d7dcdf;border-radius:6px;padding:.7rem 1rem;margin:.8rem 0}
svg{width:100%;height:auto;max-width:900px}svg text{font:11px system-ui,sans-serif;fill:#333}
pre{background:#f5f7f8;padding:.7rem;overflow-x:auto;font-size:.8rem}.wide{overflow-x:auto})";

std::string ClassOf(EffectVerdict verdict) {
  switch (verdict) {
    case EffectVerdict::kHelps:
      return "helps";
    case EffectVerdict::kHurts:
      return "hurts";
    case EffectVerdict::kNoPracticalEffect:
      return "none";
    case EffectVerdict::kUndecided:
      return "";
  }
  return "";
}

std::string EffectCell(const Finding& finding, const char* metric, bool claimed) {
  const MetricFinding* m = finding.Find(metric);
  if (m == nullptr) return "<td>not measured</td>";
  return fmt::format(
      "<td class=\"n {}\">{}{}<br><small>{} to {}</small></td>", claimed ? ClassOf(m->verdict) : "",
      claimed ? fmt::format("<b>{}</b> ", NameOf(m->verdict)) : "", Percent(m->effect.ratio),
      Percent(m->effect.interval.low), Percent(m->effect.interval.high));
}

std::string AnswersCell(const AnswerComparison& a) {
  if (a.answers == 0) return "<td>no answers to compare</td>";
  std::string cell =
      a.differing == 0 ? "identical" : fmt::format("{} of {} differ", a.differing, a.answers);
  if (a.promised_equal && a.differing > 0) cell = "<b>fault:</b> " + cell;
  if (a.judged > 0 && a.differing > 0) {
    cell += fmt::format("<br><small>right {:.1f} % to {:.1f} %</small>", 100 * a.exact_before,
                        100 * a.exact_after);
  }
  return "<td class=\"n\">" + cell + "</td>";
}

std::string FindingTable(const std::vector<Finding>& findings, const char* first, bool claimed) {
  std::string html = fmt::format("<div class=\"wide\"><table><tr><th>{}</th>", first);
  for (const LabMetric& m : LabMetrics())
    html += fmt::format("<th title=\"{}\">{}</th>", EscapedHtml(m.formula), m.label);
  html += "<th>answers</th></tr>";
  for (const Finding& f : findings) {
    html += "<tr><th>" + EscapedHtml(f.subject);
    if (f.failures > 0) html += fmt::format("<br><small>{} requests failed</small>", f.failures);
    html += "</th>";
    for (const LabMetric& m : LabMetrics()) html += EffectCell(f, m.key, claimed);
    html += AnswersCell(f.answers) + "</tr>";
  }
  return html + "</table></div>";
}

std::string ListOf(const std::vector<std::string>& lines) {
  std::string html = "<ul>";
  for (const std::string& line : lines) html += "<li>" + EscapedHtml(line) + "</li>";
  return html + "</ul>";
}

std::string PairTable(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string html = "<table>";
  for (const auto& [name, value] : pairs) {
    html += fmt::format("<tr><th>{}</th><td>{}</td></tr>", EscapedHtml(name), EscapedHtml(value));
  }
  return html + "</table>";
}

std::string Breakdown(const ReportInput& in) {
  std::vector<lab_internal::StackedBar> bars;
  for (const std::string& name : StageNames(in)) {
    bars.push_back({name,
                    {MeanValue(in, name, "queued_ms"), MeanValue(in, name, "prefill_ms"),
                     MeanValue(in, name, "decode_ms")}});
  }
  return lab_internal::StackedBars(bars, {"queue", "prefill", "decode"}, "ms");
}

std::string Gaps(const ReportInput& in) {
  std::vector<lab_internal::QuantileSeries> series;
  for (const std::string& name : StageNames(in)) {
    if (name != kBaseline && name != kAllOn && !name.starts_with("all but spec") &&
        !name.starts_with("all but cont")) {
      continue;
    }
    std::vector<double> mean;
    int count = 0;
    for (const RunRecord& run : in.result.state.runs) {
      if (run.stage != in.analysis.stage || run.configuration != name ||
          run.itl_quantiles.empty()) {
        continue;
      }
      mean.resize(run.itl_quantiles.size());
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += run.itl_quantiles[i];
      ++count;
    }
    for (double& value : mean) value /= count;
    if (count > 0) series.push_back({name, std::move(mean)});
  }
  return lab_internal::Distribution(series, "ms");
}

std::string Rounds(const ReportInput& in) {
  std::vector<lab_internal::RoundSeries> series;
  for (const std::string& name : StageNames(in)) {
    lab_internal::RoundSeries one{name, {}};
    for (int round = 0; round < 100; ++round) {
      for (const RunRecord& run : in.result.state.runs) {
        if (run.stage != in.analysis.stage || run.round != round || run.configuration != name)
          continue;
        const auto value = run.values.find(LabMetrics()[0].key);
        if (value != run.values.end()) one.values.push_back(value->second);
      }
    }
    series.push_back(std::move(one));
  }
  return lab_internal::RoundLines(series, LabMetrics()[0].unit);
}

// Alone against in company: where the two differ, switches depend on each other.
std::string Interactions(const ReportInput& in) {
  std::string html =
      "<table><tr><th>optimisation</th><th>alone</th><th>in company</th><th>in company / "
      "alone</th></tr>";
  for (size_t i = 0; i < in.analysis.switches.size(); ++i) {
    const MetricFinding* company = in.analysis.switches[i].Find(LabMetrics()[0].key);
    const MetricFinding* alone = in.analysis.alone[i].Find(LabMetrics()[0].key);
    if (company == nullptr || alone == nullptr) continue;
    html += fmt::format("<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                        EscapedHtml(in.analysis.switches[i].subject), Percent(alone->effect.ratio),
                        Percent(company->effect.ratio),
                        Percent(company->effect.ratio / alone->effect.ratio));
  }
  return html + "</table>";
}

// What the server itself estimates to save (its ledgers, and GET /v1/insights), beside what
// switching off shows.
std::string Estimates(const ReportInput& in) {
  std::string html =
      "<table><tr><th>optimisation</th><th>of</th><th>the server's estimate</th>"
      "<th>measured</th></tr>";
  for (const lab_internal::EstimateBeside& e : lab_internal::EstimatesBeside(in)) {
    html += fmt::format("<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                        EscapedHtml(e.name), e.of, Percent(e.estimated), Percent(e.measured));
  }
  return html + "</table>";
}

std::string ValueTable(const ReportInput& in) {
  constexpr const char* kColumns[] = {"ttft_ms",
                                      "ttft_p95_ms",
                                      "ttft_from_send_ms",
                                      "tpot_ms",
                                      "itl_ms",
                                      "stall_ms",
                                      "e2e_ms",
                                      "throughput",
                                      "goodput",
                                      "prefix_hit",
                                      "accepted",
                                      "tokens_per_emission",
                                      "memory_mib",
                                      "idle_memory_mib",
                                      "kv_memory_mib",
                                      "kv_unused_percent",
                                      "kv_unusable_percent",
                                      "preemptions",
                                      "attention_seconds",
                                      "attention_mib",
                                      "server_cpu_share",
                                      "client_cores_per_100_streams"};
  std::string html = "<div class=\"wide\"><table><tr><th>mean over rounds</th>";
  for (const char* column : kColumns) html += fmt::format("<th>{}</th>", column);
  html += "</tr>";
  for (const std::string& name : StageNames(in)) {
    html += "<tr><th>" + EscapedHtml(name) + "</th>";
    for (const char* column : kColumns)
      html += fmt::format("<td>{:.4g}</td>", MeanValue(in, name, column));
    html += "</tr>";
  }
  return html + "</table></div>";
}

std::string Verdicts(const ReportInput& in) {
  const Analysis& a = in.analysis;
  std::string html;
  if (!a.confirmed) {
    html +=
        "<div class=\"box\"><b>A first look.</b> The figures rank; they claim nothing. Run "
        "<code>millrace measure</code> without <code>--quick</code> for verdicts.</div>";
  }
  html += FindingTable(a.switches, "optimisation", a.confirmed);
  html +=
      "<p class=\"lead\">Each row: everything on against everything on but this one. Below each "
      "effect its 95 % interval.</p>";
  html += fmt::format(
      "<div class=\"box\"><b>The baseline against itself: {}.</b> End to end {}. Differences "
      "between rounds have a standard deviation of {:.1f} %; an effect of {:.1f} % would be found "
      "in 85 of 100 such runs.</div>",
      a.same_is_null ? "null, as it must be" : "not null: nothing below can be trusted",
      a.same.metrics.empty() ? "not measured"
                             : fmt::format("{} ({} to {})", Percent(a.same.metrics[0].effect.ratio),
                                           Percent(a.same.metrics[0].effect.interval.low),
                                           Percent(a.same.metrics[0].effect.interval.high)),
      100 * a.deviation, 100 * a.detectable);
  html += fmt::format("<div class=\"box\"><b>Recommended: {}</b>{}</div>",
                      a.recommendation.configuration.empty()
                          ? "nothing"
                          : EscapedHtml(a.recommendation.configuration),
                      ListOf(a.recommendation.reasons));
  if (!in.recommended_toml.empty()) html += "<pre>" + EscapedHtml(in.recommended_toml) + "</pre>";
  return html;
}

}  // namespace

std::string ReportHtml(const ReportInput& in) {
  const Analysis& a = in.analysis;
  std::string html =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\"><title>Millrace: what each optimisation is worth</title><style>" +
      std::string(kStyle) + "</style></head><body><h1>What each optimisation is worth here</h1>";
  html += fmt::format("<p class=\"lead\">{}; model {}; {}.</p>", EscapedHtml(in.workload),
                      EscapedHtml(in.model), EscapedHtml(in.replay));
  html += Verdicts(in);
  const auto section = [&](const char* title, const std::string& body) {
    html += fmt::format("<h2>{}</h2>", title) + body;
  };
  section("Candidates against the baseline (everything off)",
          FindingTable(a.candidates, "configuration", a.confirmed));
  if (!a.handicaps.empty()) {
    section("Slowed on purpose, against all on",
            FindingTable(a.handicaps, "configuration", a.confirmed));
  }
  for (const char* key : {"e2e_ms", "ttft_ms", "throughput"}) {
    for (const LabMetric& m : LabMetrics()) {
      if (std::string_view(m.key) != key) continue;
      section(fmt::format("Effects on {}", m.label).c_str(),
              lab_internal::ForestPlot(a.switches, m.key, m.better));
    }
  }
  section("Where the time goes", Breakdown(in));
  section("Gaps between emissions", Gaps(in));
  section("Interactions, end to end", Interactions(in));
  section("The server's live estimates of prefill and decode time, against switching off",
          Estimates(in));
  section("Answers and quality", lab_internal::QualityTable(in));
  section("Predictions against the baseline's", lab_internal::PredictionTable(in));
  section("Passages that were kept", lab_internal::RetrievalTable(in));
  section("Rounds, end to end", Rounds(in));
  section("All figures", ValueTable(in));
  std::vector<std::string> workload = in.summary.can_measure;
  section("What this workload can measure", ListOf(workload));
  section("What it cannot", ListOf(in.summary.cannot_measure));
  section("Notes", ListOf(in.notes));
  section("Rules, set before the run", ListOf(in.rules));
  std::vector<std::pair<std::string, std::string>> formulas;
  for (const LabMetric& m : LabMetrics()) formulas.emplace_back(m.label, m.formula);
  section("Formulas (s: scheduled arrival; t1 ... tN: when tokens came)", PairTable(formulas));
  section("Machine", PairTable(in.machine));
  section("Commands", PairTable(in.commands));
  return html + "</body></html>\n";
}

}  // namespace millrace
