// The report's charts, as inline SVG. Internal to lab/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lab/analysis.h"
#include "lab/report.h"
#include "lab/statistics.h"

namespace millrace::lab_internal {

// A row per finding: the effect and its 95 % interval on a logarithmic axis, with the band.
std::string ForestPlot(const std::vector<Finding>& findings, std::string_view metric,
                       Better better);
// A bar per row: parts of a whole, such as queue, prefill and decode.
struct StackedBar {
  std::string name;
  std::vector<double> parts;
};
std::string StackedBars(const std::vector<StackedBar>& bars, const std::vector<std::string>& parts,
                        std::string_view unit);
// A line per series of quantiles at 0, 5, ... 100 %: share of values below x.
struct QuantileSeries {
  std::string name;
  std::vector<double> quantiles;
};
std::string Distribution(const std::vector<QuantileSeries>& series, std::string_view unit);
// The values of a metric in every round, a line per configuration.
struct RoundSeries {
  std::string name;
  std::vector<double> values;
};
std::string RoundLines(const std::vector<RoundSeries>& series, std::string_view unit);

// A point per setting, y with its interval, joined in the order of x; chosen ones are filled.
struct CurvePoint {
  std::string name;
  double x = 0;
  double y = 0;
  Interval interval;  // of y
  bool chosen = false;
};
std::string TradeOff(std::vector<CurvePoint> points, std::string_view x_label,
                     std::string_view y_label);

}  // namespace millrace::lab_internal
