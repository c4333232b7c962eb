// The report's charts, as inline SVG. Internal to lab/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lab/analysis.h"
#include "lab/report.h"

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

}  // namespace millrace::lab_internal
