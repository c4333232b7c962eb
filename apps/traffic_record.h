// What a server records of its traffic: a workload file (lab/workload.h), a line per completed
// request, of whatever route, as a chat or a completion that asks for the same: with its passages,
// tools and other options, but for the model or adapter that it named and a beginning of the
// answer. No API keys, no answers; without texts no options either, and of sessions' names only
// hashes.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "server/server.h"

namespace millrace {

enum class RecordedTexts { kKept, kDropped };

// Appends to `path`. What is returned writes a line at once, from any thread; a line that cannot be
// written (a full disk) is left out, and the first such is logged.
Result<std::function<void(const RecordedTraffic&)>> OpenTrafficRecord(const std::string& path,
                                                                      RecordedTexts texts);

// One line, without its break.
std::string TrafficLine(const RecordedTraffic& traffic, RecordedTexts texts);

}  // namespace millrace
