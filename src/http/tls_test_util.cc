#include "http/tls_test_util.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace millrace {

TlsFiles MakeCertificate(const std::string& name, int days) {
  const std::string stem =
      testing::TempDir() + "millrace-" + std::to_string(::getpid()) + "-" + name;
  TlsFiles files{stem + ".crt", stem + ".key"};
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost "
      "-days " +
      std::to_string(days) + " -keyout " + files.key + " -out " + files.certificate +
      " 2>/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return files;
}

TlsFiles TestTlsFiles() {
  static const TlsFiles files = MakeCertificate("server");
  return files;
}

struct TlsTransport::Session {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* tls = nullptr;
  ~Session() {
    SSL_free(tls);
    SSL_CTX_free(context);
  }
};

TlsTransport::TlsTransport(int fd, int newest) : session_(std::make_unique<Session>()) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  SSL_CTX_set_security_level(session_->context, 0);  // so that old versions can be tried at all
  if (newest != 0) SSL_CTX_set_max_proto_version(session_->context, newest);
  session_->tls = SSL_new(session_->context);
  SSL_set_fd(session_->tls, fd);
  ERR_clear_error();
  established_ = SSL_connect(session_->tls) == 1;
}

TlsTransport::~TlsTransport() = default;

std::string TlsTransport::version() const { return SSL_get_version(session_->tls); }

std::string TlsTransport::fingerprint() const {
  X509* const certificate = SSL_get1_peer_certificate(session_->tls);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  X509_digest(certificate, EVP_sha256(), digest, &size);
  X509_free(certificate);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

bool TlsTransport::said_goodbye() const {
  return (SSL_get_shutdown(session_->tls) & SSL_RECEIVED_SHUTDOWN) != 0;
}

ssize_t TlsTransport::Send(const char* bytes, size_t size) {
  ERR_clear_error();
  errno = 0;
  return established_ ? SSL_write(session_->tls, bytes, static_cast<int>(size)) : -1;
}

ssize_t TlsTransport::Receive(char* bytes, size_t size) {
  if (!established_) return 0;
  ERR_clear_error();
  errno = 0;
  const int n = SSL_read(session_->tls, bytes, static_cast<int>(size));
  if (n > 0) return n;
  const int error = SSL_get_error(session_->tls, n);
  // An end without a goodbye is an end, too.
  const bool ended = error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SSL || errno == 0;
  return ended ? 0 : -1;
}

void TlsTransport::HalfClose() {
  ERR_clear_error();
  if (established_) SSL_shutdown(session_->tls);
}

namespace {

// With MILLRACE_TEST_TLS every TestClient and every server of these tests speaks TLS.
[[maybe_unused]] const bool kAllOfTls = [] {
  if (std::getenv("MILLRACE_TEST_TLS") == nullptr) return false;
  make_client_transport = [](int fd) { return std::make_unique<TlsTransport>(fd); };
  return true;
}();

}  // namespace
}  // namespace millrace
