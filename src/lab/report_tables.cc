#include "lab/report_tables.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::lab_internal {

double MeanValue(const ReportInput& in, std::string_view configuration, std::string_view key) {
  return MeanOverRuns(in.result.state, in.analysis.stage, configuration, key).value_or(0);
}

std::vector<std::string> StageNames(const ReportInput& in) {
  std::vector<std::string> names;
  for (const LabConfiguration& c : in.result.configurations) {
    const auto& runs = in.result.state.runs;
    if (std::any_of(runs.begin(), runs.end(), [&](const RunRecord& run) {
          return run.stage == in.analysis.stage && run.configuration == c.name;
        })) {
      names.push_back(c.name);
    }
  }
  return names;
}

std::string QualityTable(const ReportInput& in) {
  std::string html =
      "<table><tr><th>configuration</th><th>against</th><th>answers</th><th>differ</th>"
      "<th>judged</th><th>exact match</th><th>F1</th><th>gained / lost</th><th>McNemar p</th>"
      "<th>first difference</th></tr>";
  std::vector<Finding> all = in.analysis.switches;
  all.insert(all.end(), in.analysis.candidates.begin(), in.analysis.candidates.end());
  all.push_back(in.analysis.same);
  for (const Finding& f : all) {
    const AnswerComparison& a = f.answers;
    html += fmt::format("<tr><th>{}</th><td>{}</td><td>{}</td><td>{}{}</td><td>{}</td>",
                        EscapedHtml(f.candidate), EscapedHtml(f.baseline), a.answers, a.differing,
                        a.promised_equal ? " (none promised)" : "", a.judged);
    if (a.judged > 0) {
      html += fmt::format(
          "<td class=\"n\">{:.1f} % to {:.1f} %</td><td class=\"n\">{:.3f} to {:.3f}</td><td>{} / "
          "{}</td><td>{:.3g}</td>",
          100 * a.exact_before, 100 * a.exact_after, a.f1_before, a.f1_after, a.quality.gained,
          a.quality.lost, a.quality.mcnemar_p);
    } else {
      html += "<td colspan=\"4\">no expected answers</td>";
    }
    html += "<td>" + EscapedHtml(a.first_difference) + "</td></tr>";
  }
  return "<div class=\"wide\">" + html + "</table></div>";
}

std::string PredictionTable(const ReportInput& in) {
  if (in.analysis.predictions.empty())
    return "<p>No candidate computes with another precision, or its predictions were not "
           "compared (see the notes).</p>";
  std::string html =
      "<table><tr><th>configuration</th><th>precision</th><th>tokens</th><th>KL divergence, "
      "nats</th><th>its 99th percentile</th><th>same top token</th><th>ln of the perplexity "
      "ratio</th></tr>";
  for (const PredictionQuality& p : in.analysis.predictions) {
    const QualitySummary& q = p.quality;
    html += fmt::format(
        "<tr><th>{}</th><td>{}</td><td>{}</td><td class=\"n\">{:.5f} &plusmn; {:.5f}</td>"
        "<td class=\"n\">{:.4f}<br><small>{:.4f} to {:.4f}</small></td>"
        "<td class=\"n\">{:.2f} &plusmn; {:.2f} %</td>"
        "<td class=\"n\">{:+.5f} &plusmn; {:.5f}</td></tr>",
        EscapedHtml(p.configuration), EscapedHtml(p.precision), q.divergence.count,
        q.divergence.mean, q.divergence.standard_error, q.divergence_p99,
        q.divergence_p99_interval.low, q.divergence_p99_interval.high, 100 * q.same_top.mean,
        100 * q.same_top.standard_error, q.log_ratio.mean, q.log_ratio.standard_error);
  }
  return "<div class=\"wide\">" + html +
         "</table></div><p class=\"lead\">Over the workload's prompts and the baseline's answers; "
         "&plusmn; standard errors, clustered by group.</p>";
}

std::vector<RetrievalRow> RetrievalRows(const ReportInput& in) {
  std::vector<RetrievalRow> rows;
  for (const std::string& name : StageNames(in)) {
    const double requests = MeanValue(in, name, "passage_requests");
    if (!(requests > 0)) continue;
    rows.push_back({name, requests, MeanValue(in, name, "answer_coverage"),
                    MeanValue(in, name, "passage_recall"), MeanValue(in, name, "kept_passages"),
                    MeanValue(in, name, "prompt_tokens_each")});
  }
  return rows;
}

std::string RetrievalTable(const ReportInput& in) {
  const std::vector<RetrievalRow> rows = RetrievalRows(in);
  if (rows.empty()) return "<p>No request carries passages that hold its expected answer.</p>";
  std::string html =
      "<table><tr><th>configuration</th><th>requests a run</th><th>passages kept</th>"
      "<th>answer coverage</th><th>recall@k</th><th>prompt tokens</th></tr>";
  for (const RetrievalRow& r : rows) {
    html += fmt::format(
        "<tr><th>{}</th><td>{:.0f}</td><td>{:.2f}</td><td>{:.1f} %</td><td>{:.1f} %</td>"
        "<td>{:.0f}</td></tr>",
        EscapedHtml(r.configuration), r.requests, r.kept, 100 * r.coverage, 100 * r.recall,
        r.prompt_tokens);
  }
  return html +
         "</table><p class=\"lead\">Coverage: some kept passage holds the expected answer, letter "
         "for letter. Recall: of the passages that hold it, the share kept.</p>";
}

}  // namespace millrace::lab_internal
