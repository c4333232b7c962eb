// --tls-cert and --tls-key of `millrace serve`.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "http/tls.h"
#include "service_manager.h"

namespace millrace {

class Server;
class Verb;

struct TlsFlags {
  std::string certificate;
  std::string key;
};

void AddTlsFlags(Verb& verb, TlsFlags& flags);
// Nothing where neither is given; one alone is an error.
Result<std::optional<TlsFiles>> TlsOf(const TlsFlags& flags);
// Logs what an operator should hear of the files.
void LogTlsWarnings(const TlsFlags& flags);
// What SIGHUP does: reads the files anew; empty without TLS.
std::function<void()> TlsReload(const TlsFlags& flags, Server& server);

}  // namespace millrace
