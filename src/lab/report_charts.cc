#include "lab/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace millrace {

std::string EscapedHtml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Percent(double ratio) {
  if (!std::isfinite(ratio)) return "?";
  return fmt::format("{:+.1f} %", 100 * (ratio - 1));
}

}  // namespace millrace

namespace millrace::lab_internal {
namespace {

constexpr double kWidth = 760, kLabels = 190, kRight = 110;
constexpr std::array<const char*, 8> kColours = {"#1f6f8b", "#d1495b", "#edae49", "#66a182",
                                                 "#8d6a9f", "#5b8e7d", "#bc4b51", "#3d5a80"};

const char* Colour(size_t i) { return kColours[i % kColours.size()]; }

std::string Open(double height, std::string_view label) {
  return fmt::format(
      "<svg role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {:.0f} {:.0f}\" "
      "xmlns=\"http://www.w3.org/2000/svg\">",
      EscapedHtml(label), kWidth, height);
}

std::string Text(double x, double y, std::string_view text, const char* anchor = "start") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     EscapedHtml(text));
}

std::string Line(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>", x1, y1,
                     x2, y2, style);
}

std::string Box(double x, double y, double width, double height, std::string_view fill) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>", x, y,
      std::max(0.0, width), height, fill);
}

std::string Legend(const std::vector<std::string>& names, double y) {
  std::string svg;
  double x = kLabels;
  for (size_t i = 0; i < names.size(); ++i) {
    if (x + 30 + 7 * static_cast<double>(names[i].size()) > kWidth) {
      x = kLabels;
      y += 16;
    }
    svg += Box(x, y - 9, 10, 10, Colour(i)) + Text(x + 14, y, names[i]);
    x += 30 + 7 * static_cast<double>(names[i].size());
  }
  return svg;
}

double LegendHeight(const std::vector<std::string>& names) {
  double x = kLabels, height = 20;
  for (const std::string& name : names) {
    const double wide = 30 + 7 * static_cast<double>(name.size());
    if (x + wide > kWidth) {
      x = kLabels;
      height += 16;
    }
    x += wide;
  }
  return height;
}

// A round number at or above `value`.
double RoundUp(double value) {
  if (!(value > 0)) return 1;
  const double scale = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 2.5, 5.0, 10.0}) {
    if (step * scale >= value) return step * scale;
  }
  return 10 * scale;
}

}  // namespace

std::string ForestPlot(const std::vector<Finding>& findings, std::string_view metric,
                       Better better) {
  double reach = std::log(1.1);  // of the axis, each way
  for (const Finding& f : findings) {
    const MetricFinding* m = f.Find(metric);
    if (m == nullptr) continue;
    reach = std::max(reach, std::fabs(std::log(m->effect.ratio)) * 1.15);
    for (const double end : {m->effect.interval.low, m->effect.interval.high}) {
      if (end > 0 && std::isfinite(end)) reach = std::max(reach, std::fabs(std::log(end)));
    }
  }
  reach = std::min(reach, std::log(8.0));
  const double height = 46 + 24 * static_cast<double>(findings.size());
  const double left = kLabels, right = kWidth - kRight;
  const auto x = [&](double ratio) {
    const double at = ratio > 0 ? std::clamp(std::log(ratio), -reach, reach) : -reach;
    return left + (std::min(at, reach) + reach) / (2 * reach) * (right - left);
  };
  std::string svg = Open(height, "effects and intervals");
  svg += Box(x(1 - kPracticalBand), 20, x(1 + kPracticalBand) - x(1 - kPracticalBand), height - 40,
             "#e8ecef");
  svg += Line(x(1), 20, x(1), height - 20, "stroke=\"#333\" stroke-dasharray=\"3 3\"");
  svg += Text(left, 14, better == Better::kLower ? "better" : "worse");
  svg += Text(right, 14, better == Better::kLower ? "worse" : "better", "end");
  for (size_t i = 0; i < findings.size(); ++i) {
    const double y = 36 + 24 * static_cast<double>(i);
    svg += Text(0, y + 4, findings[i].subject);
    const MetricFinding* m = findings[i].Find(metric);
    if (m == nullptr) continue;
    const char* colour = m->verdict == EffectVerdict::kHelps   ? "#2a7f4f"
                         : m->verdict == EffectVerdict::kHurts ? "#b3262f"
                                                               : "#555";
    const std::string style = fmt::format("stroke=\"{}\" stroke-width=\"2\"", colour);
    svg += Line(x(m->effect.interval.low), y, x(m->effect.interval.high), y, style);
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>",
                       x(m->effect.ratio), y, colour);
    svg += Text(kWidth, y + 4, Percent(m->effect.ratio), "end");
  }
  for (const double at : {-reach, -reach / 2, 0.0, reach / 2, reach})
    svg += Text(x(std::exp(at)), height - 6, Percent(std::exp(at)), "middle");
  return svg + "</svg>";
}

std::string StackedBars(const std::vector<StackedBar>& bars, const std::vector<std::string>& parts,
                        std::string_view unit) {
  double most = 0;
  for (const StackedBar& bar : bars) {
    double sum = 0;
    for (const double part : bar.parts) sum += part;
    most = std::max(most, sum);
  }
  most = std::max(most, 1e-9);
  const double legend = LegendHeight(parts);
  const double height = legend + 10 + 24 * static_cast<double>(bars.size());
  std::string svg = Open(height, "parts of the time") + Legend(parts, 14);
  for (size_t i = 0; i < bars.size(); ++i) {
    const double y = legend + 6 + 24 * static_cast<double>(i);
    svg += Text(0, y + 13, bars[i].name);
    double at = kLabels, sum = 0;
    for (size_t k = 0; k < bars[i].parts.size(); ++k) {
      const double width = bars[i].parts[k] / most * (kWidth - kLabels - kRight);
      svg += Box(at, y, width, 18, Colour(k));
      at += width;
      sum += bars[i].parts[k];
    }
    svg += Text(kWidth, y + 13, fmt::format("{:.1f} {}", sum, unit), "end");
  }
  return svg + "</svg>";
}

std::string Distribution(const std::vector<QuantileSeries>& series, std::string_view unit) {
  double most = 0;
  std::vector<std::string> names;
  for (const QuantileSeries& s : series) {
    names.push_back(s.name);
    // The last step (the maximum) may lie far out.
    if (s.quantiles.size() > 2) most = std::max(most, s.quantiles[s.quantiles.size() - 2]);
  }
  most = RoundUp(most);
  const double legend = LegendHeight(names), top = legend + 6, bottom = top + 200;
  std::string svg = Open(bottom + 30, "distribution") + Legend(names, 14);
  const auto x = [&](double value) {
    return kLabels / 4 + std::min(value / most, 1.0) * (kWidth - kLabels / 4 - 20);
  };
  for (size_t i = 0; i < series.size(); ++i) {
    std::string points;
    const auto& q = series[i].quantiles;
    for (size_t k = 0; k < q.size() && q.size() > 1; ++k) {
      const double share = static_cast<double>(k) / static_cast<double>(q.size() - 1);
      points += fmt::format("{:.1f},{:.1f} ", x(q[k]), bottom - share * (bottom - top));
    }
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
                       points, Colour(i));
  }
  svg += Line(x(0), bottom, x(most), bottom, "stroke=\"#333\"");
  for (int k = 0; k <= 4; ++k) {
    svg += Text(x(most * k / 4), bottom + 16, fmt::format("{:.4g} {}", most * k / 4, unit),
                k == 0   ? "start"
                : k == 4 ? "end"
                         : "middle");
  }
  for (int k = 0; k <= 4; k += 2)
    svg += Text(0, bottom - k * (bottom - top) / 4 + 4, fmt::format("{} %", 25 * k));
  return svg + "</svg>";
}

std::string RoundLines(const std::vector<RoundSeries>& series, std::string_view unit) {
  double most = 0;
  size_t rounds = 1;
  std::vector<std::string> names;
  for (const RoundSeries& s : series) {
    names.push_back(s.name);
    rounds = std::max(rounds, s.values.size());
    for (const double v : s.values) most = std::max(most, v);
  }
  most = RoundUp(most);
  const double legend = LegendHeight(names), top = legend + 6, bottom = top + 180;
  std::string svg = Open(bottom + 24, "rounds") + Legend(names, 14);
  const auto x = [&](size_t round) {
    return 70 + static_cast<double>(round) / std::max<double>(1, static_cast<double>(rounds - 1)) *
                    (kWidth - 90);
  };
  const auto y = [&](double value) { return bottom - value / most * (bottom - top); };
  for (size_t i = 0; i < series.size(); ++i) {
    std::string points;
    for (size_t r = 0; r < series[i].values.size(); ++r)
      points += fmt::format("{:.1f},{:.1f} ", x(r), y(series[i].values[r]));
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
                       points, Colour(i));
  }
  for (int k = 0; k <= 4; k += 2) {
    svg += Text(0, y(most * k / 4) + 4, fmt::format("{:.4g} {}", most * k / 4, unit));
    svg += Line(70, y(most * k / 4), kWidth - 20, y(most * k / 4), "stroke=\"#ddd\"");
  }
  for (size_t r = 0; r < rounds; ++r)
    svg += Text(x(r), bottom + 16, std::to_string(r + 1), "middle");
  return svg + "</svg>";
}

std::string TradeOff(std::vector<CurvePoint> points, std::string_view x_label,
                     std::string_view y_label) {
  constexpr double kHeight = 330, kLeft = 60, kTop = 12, kBottom = 40, kEnd = kWidth - 50;
  std::sort(points.begin(), points.end(),
            [](const CurvePoint& a, const CurvePoint& b) { return a.x < b.x; });
  double most_x = 0, low = points.front().interval.low, high = low;
  for (const CurvePoint& p : points) {
    most_x = std::max(most_x, p.x);
    low = std::min({low, p.interval.low, p.y});
    high = std::max({high, p.interval.high, p.y});
  }
  most_x = RoundUp(most_x);
  const double room = std::max(0.05 * (high - low), 1e-9);
  low = std::max(0.0, low - room);
  high += room;
  const auto across = [&](double x) { return kLeft + (kEnd - kLeft) * x / most_x; };
  const auto up = [&](double y) {
    return kHeight - kBottom - (kHeight - kBottom - kTop) * (y - low) / (high - low);
  };
  std::string svg = Open(kHeight, fmt::format("{} against {}", y_label, x_label));
  for (int i = 0; i <= 4; ++i) {
    const double y = low + (high - low) * i / 4, x = most_x * i / 4;
    svg += Line(kLeft, up(y), kEnd, up(y), "stroke=\"#e3e6e8\"") +
           Text(kLeft - 6, up(y) + 4, fmt::format("{:.3g}", y), "end") +
           Text(across(x), kHeight - kBottom + 16, fmt::format("{:g}", x), "middle");
  }
  svg += Text((kLeft + kEnd) / 2, kHeight - 6, x_label, "middle");
  for (size_t i = 0; i < points.size(); ++i) {
    const CurvePoint& p = points[i];
    if (i > 0) {
      svg += Line(across(points[i - 1].x), up(points[i - 1].y), across(p.x), up(p.y),
                  "stroke=\"#9fb4bd\"");
    }
    svg += Line(across(p.x), up(p.interval.low), across(p.x), up(p.interval.high),
                "stroke=\"#1f6f8b\" stroke-width=\"1.5\"");
  }
  for (const CurvePoint& p : points) {
    svg +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\" stroke=\"#1f6f8b\"/>",
                    across(p.x), up(p.y), p.chosen ? "#d1495b" : "#fff");
    svg += Text(across(p.x) + 6, up(p.y) - 6, p.name);
  }
  return svg + "</svg>";
}

}  // namespace millrace::lab_internal
