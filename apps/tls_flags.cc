#include "tls_flags.h"

#include <spdlog/spdlog.h>

#include "command_line.h"
#include "server/server.h"

namespace millrace {

void AddTlsFlags(Verb& verb, TlsFlags& flags) {
  verb.Option("--tls-cert", flags.certificate,
              "serve https: a PEM file with the certificate and those that vouch for it; read anew "
              "at SIGHUP")
      .Env("MILLRACE_TLS_CERT")
      .Placeholder("FILE");
  verb.Option("--tls-key", flags.key, "the certificate's key, PEM, without a password")
      .Env("MILLRACE_TLS_KEY")
      .Placeholder("FILE");
}

Result<std::optional<TlsFiles>> TlsOf(const TlsFlags& flags) {
  if (flags.certificate.empty() != flags.key.empty()) {
    return Error{"--tls-cert and --tls-key belong together: give both, or neither"};
  }
  if (flags.key.empty()) return std::optional<TlsFiles>();
  return std::optional<TlsFiles>(TlsFiles{flags.certificate, flags.key});
}

void LogTlsWarnings(const TlsFlags& flags) {
  if (flags.key.empty()) return;
  for (const std::string& sentence : TlsWarnings({flags.certificate, flags.key})) {
    spdlog::warn("TLS: {}", sentence);
  }
}

std::function<void()> TlsReload(const TlsFlags& flags, Server& server) {
  if (flags.key.empty()) return {};
  return [flags, &server] {
    const Status status = server.ReloadTls();
    if (!status.ok()) {
      spdlog::error("TLS: the certificate stays the old one: {}", status.error().message);
      return;
    }
    spdlog::info("TLS: {} was read anew", flags.certificate);
    LogTlsWarnings(flags);
  };
}

}  // namespace millrace
