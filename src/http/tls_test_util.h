// TLS for tests: certificates made by openssl as they are needed, and a client's side of it.
#pragma once

#include <memory>
#include <string>

#include "http/test_client.h"
#include "http/tls.h"

namespace millrace {

// Writes NAME.crt and NAME.key for localhost into the folder of temporary files.
TlsFiles MakeCertificate(const std::string& name, int days = 30);
// One such pair, made once.
TlsFiles TestTlsFiles();

// A client's side of TLS over `fd`, after the handshake; without it every call fails. It accepts
// any certificate. `newest` as TLS1_1_VERSION: offers no better version than that.
class TlsTransport final : public ClientTransport {
 public:
  explicit TlsTransport(int fd, int newest = 0);
  ~TlsTransport() override;
  TlsTransport(const TlsTransport&) = delete;
  TlsTransport& operator=(const TlsTransport&) = delete;

  bool established() const { return established_; }
  std::string version() const;      // "TLSv1.3"
  std::string fingerprint() const;  // of the server's certificate
  bool said_goodbye() const;        // the server has announced the end
  ssize_t Send(const char* bytes, size_t size) override;
  ssize_t Receive(char* bytes, size_t size) override;
  void HalfClose() override;

 private:
  struct Session;
  std::unique_ptr<Session> session_;
  bool established_ = false;
};

}  // namespace millrace
