#include "compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lab/report.h"
#include "quality_json.h"

namespace millrace {

const char* const kVerdictRules =
    "Verdict, against the first model. With a task: unusable below half of its exact match; "
    "measurable loss where McNemar's p < 0.05 and answers were lost on balance; holds where the "
    "95 % interval of the difference lies above -0.02; else undecided. Without: holds below a mean "
    "KL of 0.01 nats, unusable from 0.5, measurable loss between.";

namespace {

constexpr double kHoldsMargin = 0.02, kSignificant = 0.05, kSmallKl = 0.01, kLargeKl = 0.5;

double Mebibytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// A row as cells; the first is the head.
std::vector<std::vector<std::string>> Cells(const std::vector<ComparedModel>& models) {
  std::vector<std::vector<std::string>> rows = {
      {"model", "precision", "file MiB", "memory MiB", "prefill t/s", "decode t/s", "perplexity",
       "KL mean", "KL p99", "same top", "exact match", "95 % interval", "flips -/+", "verdict"}};
  for (const ComparedModel& m : models) {
    std::vector<std::string> row = {m.name,
                                    m.precision,
                                    fmt::format("{:.1f}", Mebibytes(m.file_bytes)),
                                    fmt::format("{:.1f}", Mebibytes(m.memory_bytes)),
                                    fmt::format("{:.0f}", m.prefill),
                                    fmt::format("{:.1f}", m.decode)};
    const bool reference = m.verdict == Verdict::kReference;
    if (m.quality) {
      row.push_back(fmt::format("{:.4f}", m.quality->perplexity));
      row.push_back(reference ? "-"
                              : fmt::format("{:.5f} +- {:.5f}", m.quality->divergence.mean,
                                            m.quality->divergence.standard_error));
      row.push_back(reference ? "-" : fmt::format("{:.4f}", m.quality->divergence_p99));
      row.push_back(reference ? "-" : fmt::format("{:.4f}", m.quality->same_top.mean));
    } else {
      row.insert(row.end(), 4, "-");
    }
    if (m.task) {
      row.push_back(fmt::format("{:.4f}", m.task->exact_match));
      row.push_back(fmt::format("{:.4f} to {:.4f}", m.task->exact_match_interval.low,
                                m.task->exact_match_interval.high));
    } else {
      row.insert(row.end(), 2, "-");
    }
    row.push_back(m.against_reference
                      ? fmt::format("{}/{} (p {:.2g})", m.against_reference->lost,
                                    m.against_reference->gained, m.against_reference->mcnemar_p)
                      : "-");
    row.emplace_back(NameOf(m.verdict));
    rows.push_back(std::move(row));
  }
  return rows;
}

struct Point {
  double memory, quality, low, high;
  std::string label;
};

// Exact match where there is a task, else the share of equal top tokens.
std::vector<Point> Points(const std::vector<ComparedModel>& models) {
  std::vector<Point> points;
  for (const ComparedModel& m : models) {
    const double memory = Mebibytes(m.memory_bytes);
    if (m.task) {
      points.push_back({memory, m.task->exact_match, m.task->exact_match_interval.low,
                        m.task->exact_match_interval.high, m.name});
    } else if (m.quality) {
      const double half = kNormal95 * m.quality->same_top.standard_error;
      const double mean = m.quality->same_top.mean;
      points.push_back({memory, mean, mean - half, mean + half, m.name});
    }
  }
  return points;
}

std::string Plot(const std::vector<ComparedModel>& models) {
  const std::vector<Point> points = Points(models);
  if (points.empty()) return "";
  constexpr double kWidth = 720, kHeight = 400, kLeft = 60, kBottom = 50, kTop = 20, kRight = 110;
  double most = 0, lowest = 1;
  for (const Point& p : points) {
    most = std::max(most, p.memory);
    lowest = std::min(lowest, p.low);
  }
  lowest = std::max(0.0, std::floor(lowest * 10 - 0.2) / 10);
  const auto x = [&](double memory) {
    return kLeft + (kWidth - kLeft - kRight) * memory / (most * 1.05);
  };
  const auto y = [&](double quality) {
    return kTop + (kHeight - kTop - kBottom) * (1 - (quality - lowest) / (1 - lowest));
  };
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" width=\"{}\" role=\"img\" aria-label=\"quality against memory\">",
      kWidth, kHeight, kWidth);
  for (int i = 0; i <= 5; ++i) {
    const double q = lowest + (1 - lowest) * i / 5, m = most * 1.05 * i / 5;
    svg += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" class=\"grid\"/><text x=\"{3}\" "
        "y=\"{4:.1f}\" text-anchor=\"end\">{5:.2f}</text>",
        kLeft, kWidth - kRight, y(q), kLeft - 6, y(q) + 4, q);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.1f}</text>", x(m),
                       kHeight - kBottom + 18, m);
  }
  for (const Point& p : points) {
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" class=\"bar\"/><circle "
        "cx=\"{0:.1f}\" cy=\"{3:.1f}\" r=\"4\"/><text x=\"{4:.1f}\" y=\"{5:.1f}\">{6}</text>",
        x(p.memory), y(std::min(1.0, p.high)), y(std::max(lowest, p.low)), y(p.quality),
        x(p.memory) + 7, y(p.quality) + 4, EscapedHtml(p.label));
  }
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">memory, MiB</text></svg>",
                     (kLeft + kWidth - kRight) / 2, kHeight - 8);
  return svg;
}

}  // namespace

std::string_view NameOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kReference:
      return "reference";
    case Verdict::kHolds:
      return "holds";
    case Verdict::kMeasurableLoss:
      return "measurable loss";
    case Verdict::kUnusable:
      return "unusable";
    case Verdict::kUndecided:
      return "undecided";
  }
  return "";
}

Verdict Judge(const ComparedModel& reference, const ComparedModel& model) {
  if (model.task && reference.task && model.against_reference) {
    const TaskComparison& c = *model.against_reference;
    if (model.task->exact_match < 0.5 * reference.task->exact_match) return Verdict::kUnusable;
    if (c.mcnemar_p < kSignificant && c.lost > c.gained) return Verdict::kMeasurableLoss;
    if (c.difference_interval.low > -kHoldsMargin) return Verdict::kHolds;
    return Verdict::kUndecided;
  }
  if (!model.quality) return Verdict::kUndecided;
  const double kl = model.quality->divergence.mean;
  if (kl >= kLargeKl) return Verdict::kUnusable;
  return kl < kSmallKl ? Verdict::kHolds : Verdict::kMeasurableLoss;
}

std::string TextTable(const std::vector<ComparedModel>& models) {
  const auto rows = Cells(models);
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      text += i < 2 ? fmt::format("{:<{}}  ", row[i], widths[i])
                    : fmt::format("{:>{}}  ", row[i], widths[i]);
    text += "\n";
  }
  return text + kVerdictRules + "\n";
}

std::string MarkdownTable(const std::vector<ComparedModel>& models) {
  std::string text;
  const auto rows = Cells(models);
  for (size_t r = 0; r < rows.size(); ++r) {
    text += "|";
    for (const std::string& cell : rows[r]) text += " " + cell + " |";
    text += "\n";
    if (r > 0) continue;
    text += "|";
    for (size_t i = 0; i < rows[0].size(); ++i) text += "---|";
    text += "\n";
  }
  return text + "\n" + kVerdictRules + "\n";
}

nlohmann::ordered_json JsonTable(const std::vector<ComparedModel>& models) {
  nlohmann::ordered_json out = {{"rules", kVerdictRules},
                                {"models", nlohmann::ordered_json::array()}};
  for (const ComparedModel& m : models) {
    nlohmann::ordered_json row = {{"model", m.name},
                                  {"precision", m.precision},
                                  {"file_bytes", m.file_bytes},
                                  {"memory_bytes", m.memory_bytes},
                                  {"prefill_tokens_per_second", m.prefill},
                                  {"decode_tokens_per_second", m.decode}};
    if (m.quality) row["quality"] = ToJson(*m.quality, m.verdict != Verdict::kReference);
    if (m.task) {
      row["task"] = {{"questions", m.task->questions},
                     {"exact_match", m.task->exact_match},
                     {"exact_match_interval", ToJson(m.task->exact_match_interval)},
                     {"f1", m.task->f1},
                     {"f1_interval", ToJson(m.task->f1_interval)}};
    }
    if (m.against_reference) {
      row["flips"] = {{"lost", m.against_reference->lost},
                      {"gained", m.against_reference->gained},
                      {"mcnemar_p", m.against_reference->mcnemar_p}};
    }
    row["verdict"] = NameOf(m.verdict);
    out["models"].push_back(std::move(row));
  }
  return out;
}

std::string HtmlPage(const std::vector<ComparedModel>& models, const std::string& machine) {
  std::string table = "<table>";
  const auto rows = Cells(models);
  for (size_t r = 0; r < rows.size(); ++r) {
    table += "<tr>";
    const char* const tag = r == 0 ? "th" : "td";
    for (const std::string& cell : rows[r])
      table += fmt::format("<{0}>{1}</{0}>", tag, EscapedHtml(cell));
    table += "</tr>";
  }
  table += "</table>";
  return fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Millrace: models "
      "compared</title><style>body{{font:15px sans-serif;max-width:80em;margin:2em auto;padding:0 "
      "1em}}table{{border-collapse:collapse}}td,th{{padding:.25em .6em;border-bottom:1px solid "
      "#ccc;text-align:right}}td:first-child,th:first-child{{text-align:left}}svg "
      "text{{font:12px sans-serif}}.grid{{stroke:#ddd}}.bar{{stroke:#36c;stroke-width:2}}circle"
      "{{fill:#36c}}</style></head><body><h1>Models compared</h1><p>{}</p>{}<p>{}</p><h2>Quality "
      "against memory</h2><p>Vertical: exact match with its 95 % interval where a task was given, "
      "else the share of equal top tokens.</p>{}</body></html>\n",
      EscapedHtml(machine), table, EscapedHtml(kVerdictRules), Plot(models));
}

}  // namespace millrace
