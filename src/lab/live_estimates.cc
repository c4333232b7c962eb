#include "lab/live_estimates.h"

#include <optional>

namespace millrace::lab_internal {

std::vector<EstimateBeside> EstimatesBeside(const ReportInput& in) {
  struct Kind {
    const char* estimate;  // the run's value, before the switch's name
    const char* measured;
    const char* of;
  };
  constexpr Kind kKinds[] = {{"estimated/", "computing_ms", "computing time"},
                             {"estimated_e2e/", "e2e_ms", "end to end"}};
  std::vector<EstimateBeside> found;
  for (const LabSwitch* s : in.plan.switches) {
    for (const Kind& kind : kKinds) {
      const auto estimate = MeanOverRuns(in.result.state, in.analysis.stage, kAllOn,
                                         std::string(kind.estimate) + s->flag);
      const auto d = PairedDifferences(in.result.state, in.analysis.stage, kAllOn, WithoutName(*s),
                                       kind.measured);
      if (!estimate || *estimate <= 0 || d.empty()) continue;
      found.push_back({s->name, s->flag, kind.of, *estimate, PairedEffect(d).ratio});
    }
  }
  return found;
}

}  // namespace millrace::lab_internal
