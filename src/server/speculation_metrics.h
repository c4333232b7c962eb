// What /metrics tells of speculative decoding. Internal to server/.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "speculative_decoding/speculation.h"

namespace millrace::server_internal {

// `prefix`: what all names begin with.
void AddSpeculationFamilies(const std::string& prefix, const SpeculationStats& stats,
                            std::vector<prometheus::MetricFamily>& families);

}  // namespace millrace::server_internal
