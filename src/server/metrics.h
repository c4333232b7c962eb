// The engine's numbers in Prometheus' text format (version 0.0.4). Internal to server/.
#pragma once

#include <string>

#include "engine/engine.h"

namespace millrace::server_internal {

std::string MetricsText(const EngineStats& stats);

}  // namespace millrace::server_internal
