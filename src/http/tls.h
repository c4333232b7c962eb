// The files of TLS: a server's certificate and its key, in PEM form.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace millrace {

struct TlsFiles {
  std::string certificate;  // the server's own, then those that vouch for it, without the root
  std::string key;          // of that certificate, without a password
};

// What an operator should hear of files that work: a key that others may read, a certificate that
// has ended, has not begun, or ends within two weeks. Sentences.
std::vector<std::string> TlsWarnings(
    const TlsFiles& files,
    std::chrono::system_clock::time_point now = std::chrono::system_clock::now());

}  // namespace millrace
