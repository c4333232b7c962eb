// Which candidate is recommended, and why. Internal to lab/.
#pragma once

#include "lab/analysis.h"

namespace millrace {

// Why a candidate may not be recommended; empty: it may.
std::string RejectionOf(const AblationPlan& plan, const AblationResult& result,
                        const Analysis& analysis, const Finding& candidate,
                        const AnalysisRules& rules);
Recommendation Recommend(const AblationPlan& plan, const AblationResult& result,
                         const Analysis& analysis, const AnalysisRules& rules);

}  // namespace millrace
