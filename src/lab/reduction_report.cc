#include "lab/reduction_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "lab/report.h"
#include "lab/report_charts.h"

namespace millrace {
namespace {

using ReportTree = nlohmann::ordered_json;

// A column of the table: its name in the table and in JSON, what it means, and its cells.
struct StudyColumn {
  const char* label;
  const char* key;
  const char* meaning;
  std::function<std::optional<StudyMean>(const StudyRow&)> value;
  int digits;
};

std::optional<StudyMean> Bare(double value) { return StudyMean{value, {value, value}, 0}; }
std::optional<StudyMean> IfAsked(const StudyRow& row, double value) {
  return row.asked > 0 ? Bare(value) : std::nullopt;
}

const std::vector<StudyColumn>& StudyColumns() {
  static const std::vector<StudyColumn> columns = {
      {"kept", "passages_kept", "passages in the prompt, mean",
       [](const StudyRow& r) { return Bare(r.kept); }, 2},
      {"recall", "recall", "relevant documents that are kept, mean share",
       [](const StudyRow& r) { return r.recall; }, 3},
      {"nDCG@10", "ndcg_at_10", "of kept documents by score, gain 1",
       [](const StudyRow& r) { return r.ndcg; }, 3},
      {"coverage", "answer_coverage",
       "share of questions of which an answer stands in a kept passage",
       [](const StudyRow& r) { return r.coverage; }, 3},
      {"passage tokens", "passage_tokens", "of the kept passages as they stand in the prompt, mean",
       [](const StudyRow& r) { return Bare(r.passage_tokens); }, 0},
      {"prompt tokens", "prompt_tokens", "of whole prompts, where the server was asked, mean",
       [](const StudyRow& r) { return IfAsked(r, r.prompt_tokens); }, 0},
      {"reused tokens", "reused_tokens",
       "of those, from the prefix cache after other questions under the same setting, mean",
       [](const StudyRow& r) { return IfAsked(r, r.reused_tokens); }, 0},
      {"cold ms", "first_token_cold_ms", "to the first token, nothing in the prefix cache, mean",
       [](const StudyRow& r) { return r.cold_ms; }, 2},
      {"warm ms", "first_token_warm_ms", "to the first token, the same prompt asked before, mean",
       [](const StudyRow& r) { return r.warm_ms; }, 2},
      {"exact match", "exact_match", "share of answers as expected",
       [](const StudyRow& r) { return r.exact_match; }, 3},
      {"F1", "f1", "of the words of answers, mean", [](const StudyRow& r) { return r.f1; }, 3}};
  return columns;
}

// Those that any row has.
std::vector<const StudyColumn*> FilledColumns(std::span<const StudyRow> rows) {
  std::vector<const StudyColumn*> filled;
  for (const StudyColumn& column : StudyColumns()) {
    const auto has = [&](const StudyRow& row) { return column.value(row).has_value(); };
    if (std::any_of(rows.begin(), rows.end(), has)) filled.push_back(&column);
  }
  return filled;
}

ReportTree MeanTree(const StudyMean& mean) {
  if (mean.count == 0) return mean.mean;
  return {{"mean", mean.mean},
          {"interval", {mean.interval.low, mean.interval.high}},
          {"questions", mean.count}};
}

ReportTree RecommendationTree(const StudyRecommendation& advice) {
  ReportTree tree = {
      {"setting", advice.setting.empty() ? ReportTree() : ReportTree(advice.setting)},
      {"reason", advice.reason},
      {"quality", NameOf(advice.quality)},
      {"reference", advice.reference},
      {"margin", advice.margin},
      {"candidates", ReportTree::array()}};
  for (const auto& candidate : advice.candidates) {
    tree["candidates"].push_back({{"setting", candidate.setting},
                                  {"difference", candidate.difference},
                                  {"interval", {candidate.interval.low, candidate.interval.high}},
                                  {"adjusted_p", candidate.adjusted_p},
                                  {"shown_to_hold", candidate.shown_to_hold}});
  }
  return tree;
}

std::string HtmlCell(const StudyColumn& column, const StudyRow& row) {
  const auto value = column.value(row);
  if (!value) return "<td></td>";
  std::string cell = fmt::format("<td>{:.{}f}", value->mean, column.digits);
  if (value->count > 0) {
    cell += fmt::format("<br><small>{:.{}f} to {:.{}f}</small>", value->interval.low, column.digits,
                        value->interval.high, column.digits);
  }
  return cell + "</td>";
}

std::string HtmlTable(const StudyReport& report) {
  const auto columns = FilledColumns(report.rows);
  std::string html = "<table><tr><th>setting</th>";
  for (const StudyColumn* c : columns)
    html += fmt::format("<th title=\"{}\">{}</th>", EscapedHtml(c->meaning), c->label);
  html += "</tr>";
  for (const StudyRow& row : report.rows) {
    const bool chosen = row.setting == report.recommendation.setting;
    html += fmt::format("<tr{}><th>{}</th>", chosen ? " class=\"chosen\"" : "",
                        EscapedHtml(row.setting));
    for (const StudyColumn* c : columns) html += HtmlCell(*c, row);
    html += "</tr>";
  }
  html += "</table><ul>";
  for (const StudyColumn* c : columns)
    html += fmt::format("<li><b>{}</b>: {}</li>", c->label, EscapedHtml(c->meaning));
  return html + "</ul>";
}

// One column against another: a point a setting.
std::string Curve(const StudyReport& report, const char* x_key, const char* y_key) {
  const auto find = [](std::string_view key) {
    return std::find_if(StudyColumns().begin(), StudyColumns().end(),
                        [&](const StudyColumn& c) { return key == c.key; });
  };
  const auto x = find(x_key), y = find(y_key);
  std::vector<lab_internal::CurvePoint> points;
  for (const StudyRow& row : report.rows) {
    const auto across = x->value(row), up = y->value(row);
    if (!across || !up) continue;
    points.push_back({row.setting, across->mean, up->mean, up->interval,
                      row.setting == report.recommendation.setting});
  }
  if (points.empty()) return {};
  return fmt::format("<h2>{} against {}</h2>{}", y->label, x->label,
                     lab_internal::TradeOff(points, x->label, y->label));
}

constexpr char kStudyStyle[] = R"(
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1060px;margin:0 auto;padding:1.5rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .6rem}
table{border-collapse:collapse;width:100%;font-size:.86rem;display:block;overflow-x:auto}
th,td{padding:.35rem .5rem;border-bottom:1px solid #e3e6e8;text-align:left;vertical-align:top}
td{white-space:nowrap}small{color:#666}.chosen{background:#e3f3e8}
.box{border:1px solid #d7dcdf;border-radius:6px;padding:.7rem 1rem;margin:.8rem 0}
svg{width:100%;height:auto;max-width:900px}svg text{font:11px system-ui,sans-serif;fill:#333}
ul{color:#555;font-size:.86rem})";

}  // namespace

std::string StudyTable(const StudyReport& report) {
  const auto columns = FilledColumns(report.rows);
  std::string text = fmt::format("{:<8}", "setting");
  for (const StudyColumn* c : columns) text += fmt::format("  {:>14}", c->label);
  text += '\n';
  for (const StudyRow& row : report.rows) {
    text += fmt::format("{:<8}", row.setting);
    for (const StudyColumn* c : columns) {
      const auto value = c->value(row);
      text += fmt::format("  {:>14}", value ? fmt::format("{:.{}f}", value->mean, c->digits) : "");
    }
    text += '\n';
  }
  const StudyRecommendation& advice = report.recommendation;
  for (const auto& c : advice.candidates) {
    text += fmt::format("{:<8} against {}: {:+.1f} points ({:+.1f} to {:+.1f}), p = {:.3g}{}\n",
                        c.setting, advice.reference, 100 * c.difference, 100 * c.interval.low,
                        100 * c.interval.high, c.adjusted_p, c.shown_to_hold ? ": holds" : "");
  }
  text += "recommended: " + (advice.setting.empty() ? "" : advice.setting + ", ") + advice.reason;
  return text + "\n";
}

std::string StudyJson(const StudyReport& report) {
  ReportTree tree;
  for (const auto& [name, value] : report.about) tree["about"][name] = value;
  tree["rows"] = ReportTree::array();
  for (const StudyRow& row : report.rows) {
    ReportTree& out = tree["rows"].emplace_back();
    out["setting"] = row.setting;
    for (const StudyColumn& c : StudyColumns()) {
      const auto value = c.value(row);
      out[c.key] = value ? MeanTree(*value) : ReportTree();
    }
    out["asked"] = row.asked;
  }
  tree["recommendation"] = RecommendationTree(report.recommendation);
  return tree.dump(2, ' ', false, ReportTree::error_handler_t::replace);
}

std::string StudyHtml(const StudyReport& report) {
  const StudyRecommendation& advice = report.recommendation;
  std::string html =
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Prompt reduction"
      "</title><style>" +
      std::string(kStudyStyle) + "</style></head><body><h1>Prompt reduction</h1>";
  html += fmt::format("<div class=\"box\"><b>{}</b><br>{}</div>",
                      advice.setting.empty() ? "undecided" : EscapedHtml(advice.setting),
                      EscapedHtml(advice.reason));
  html += Curve(report, "passage_tokens", "answer_coverage") +
          Curve(report, "passage_tokens", "recall") +
          Curve(report, "prompt_tokens", "exact_match") +
          Curve(report, "prompt_tokens", "first_token_cold_ms") +
          Curve(report, "prompt_tokens", "first_token_warm_ms");
  html += "<h2>All figures, with 95 % intervals</h2>" + HtmlTable(report);
  html += fmt::format(
      "<h2>How it is recommended</h2><p>The fewest passage tokens among the settings shown, by a "
      "one-sided paired test at 5 % with Holm's adjustment, to lose less than {:g} points of {} "
      "against {}. Where none is, nothing is recommended.</p><ul>",
      100 * advice.margin, NameOf(advice.quality), EscapedHtml(advice.reference));
  for (const auto& c : advice.candidates) {
    html += fmt::format("<li>{}: {:+.1f} points ({:+.1f} to {:+.1f}), p = {:.3g}</li>",
                        EscapedHtml(c.setting), 100 * c.difference, 100 * c.interval.low,
                        100 * c.interval.high, c.adjusted_p);
  }
  html += "</ul><h2>About</h2><table>";
  for (const auto& [name, value] : report.about) {
    html += fmt::format("<tr><th>{}</th><td>{}</td></tr>", EscapedHtml(name), EscapedHtml(value));
  }
  return html + "</table></body></html>\n";
}

}  // namespace millrace
