// The server's log on standard output: lines for people, or one JSON object per line.
//
// Invariant: a request's line holds the same numbers in both forms, the savings ledger among them;
// it never holds texts or API keys. It is written at the latest when FlushRequests is called, which
// somebody must do now and then.
#pragma once

#include <string>

#include "server/server.h"

namespace millrace {

enum class LogFormat { kText, kJson };

// For all later lines of this process, through spdlog; `level` is one of spdlog's names.
void SetUpLog(LogFormat format, const std::string& level);

// What logs requests in that format, from any thread.
std::function<void(const RequestRecord&)> RequestLogger(LogFormat format);

void FlushRequests();

// The part of a request's line behind time and level: key=value pairs, or a JSON object's members
// without the braces.
std::string RequestLine(const RequestRecord& record, LogFormat format);

}  // namespace millrace
