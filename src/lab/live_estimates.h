// What a server estimated while it served (its ledgers, GET /v1/insights), beside what switching
// off showed in the same ablation.
#pragma once

#include <string>
#include <vector>

#include "lab/report.h"

namespace millrace::lab_internal {

struct EstimateBeside {
  std::string name, flag;
  std::string of;                      // what is compared: "computing time", "end to end"
  double estimated = 1, measured = 1;  // with the optimisation / without it
};

// Of those switches of which there are both.
std::vector<EstimateBeside> EstimatesBeside(const ReportInput& in);

}  // namespace millrace::lab_internal
