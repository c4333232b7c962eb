#include "http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "http/tls_context.h"

namespace millrace {
namespace {

using FileHandle = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

FileHandle OpenPem(const std::string& path) {
  return FileHandle(std::fopen(path.c_str(), "rbe"), std::fclose);
}

Error CannotRead(const std::string& path) {
  return Error{"cannot read " + path + ": " + std::strerror(errno), ErrorKind::kIo};
}

Certificate ReadCertificate(const std::string& path) {
  const FileHandle file = OpenPem(path);
  return {file ? PEM_read_X509(file.get(), nullptr, nullptr, nullptr) : nullptr, X509_free};
}

// A server has nobody to ask.
int NoPassword(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Result<PrivateKey> ReadKey(const std::string& path) {
  const FileHandle file = OpenPem(path);
  if (!file) return CannotRead(path);
  bool encrypted = false;
  PrivateKey key(PEM_read_PrivateKey(file.get(), nullptr, NoPassword, &encrypted), EVP_PKEY_free);
  if (encrypted) {
    return Error{path + " is encrypted: write it without a password: openssl pkey -in " + path};
  }
  if (!key) return Error{path + " holds no private key in PEM form"};
  return key;
}

int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* length,
                   const unsigned char* offered, unsigned int size, void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, length, kHttp11, sizeof(kHttp11) - 1, offered, size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

std::vector<std::string> TlsWarnings(const TlsFiles& files,
                                     std::chrono::system_clock::time_point now) {
  std::vector<std::string> warnings;
  struct stat status {};
  if (::stat(files.key.c_str(), &status) == 0 && (status.st_mode & S_IRWXO) != 0) {
    warnings.push_back("everybody on this machine may read or change " + files.key +
                       ": chmod o= " + files.key);
  }
  const Certificate certificate = ReadCertificate(files.certificate);
  if (!certificate) return warnings;
  std::time_t when = std::chrono::system_clock::to_time_t(now);
  if (X509_cmp_time(X509_get0_notBefore(certificate.get()), &when) > 0) {
    warnings.push_back(files.certificate + " is not valid yet: clients will refuse it");
  }
  if (X509_cmp_time(X509_get0_notAfter(certificate.get()), &when) < 0) {
    warnings.push_back(files.certificate + " has expired: clients will refuse it");
    return warnings;
  }
  when = std::chrono::system_clock::to_time_t(now + std::chrono::hours(14 * 24));
  if (X509_cmp_time(X509_get0_notAfter(certificate.get()), &when) < 0) {
    warnings.push_back(files.certificate + " expires within two weeks: replace it, then SIGHUP");
  }
  return warnings;
}

namespace http_internal {

Result<std::shared_ptr<boost::asio::ssl::context>> MakeTlsContext(const TlsFiles& files) {
  namespace ssl = boost::asio::ssl;
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* const tls = context->native_handle();
  SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
  SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);  // of idle connections
  SSL_CTX_set_alpn_select_cb(tls, ChooseProtocol, nullptr);
  if (!OpenPem(files.certificate)) return CannotRead(files.certificate);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(tls, files.certificate.c_str()) != 1) {
    ERR_clear_error();
    return Error{files.certificate + " holds no certificate in PEM form that can be used"};
  }
  const auto key = ReadKey(files.key);
  ERR_clear_error();
  if (!key.ok()) return key.error();
  if (SSL_CTX_use_PrivateKey(tls, key->get()) != 1 || SSL_CTX_check_private_key(tls) != 1) {
    ERR_clear_error();
    return Error{"the key in " + files.key + " does not belong to the certificate in " +
                 files.certificate};
  }
  return context;
}

}  // namespace http_internal
}  // namespace millrace
