#include "http/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <new>

namespace millrace::http_internal {
namespace {

using boost::system::error_code;

int SocketOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

bool MayTryAgain() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL: a client that has gone would end the
// process.
int SendToSocket(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::send(SocketOf(bio), bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && MayTryAgain()) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int ReceiveFromSocket(BIO* bio, char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::recv(SocketOf(bio), bytes, static_cast<size_t>(size), 0);
  if (n < 0 && MayTryAgain()) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long ControlSocket(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* SocketMethod() {
  static const auto method = [] {
    std::unique_ptr<BIO_METHOD, decltype(&BIO_meth_free)> made(
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket"), BIO_meth_free);
    BIO_meth_set_write(made.get(), SendToSocket);
    BIO_meth_set_read(made.get(), ReceiveFromSocket);
    BIO_meth_set_ctrl(made.get(), ControlSocket);
    return made;
  }();
  return method.get();
}

int AtMostInt(size_t size) { return static_cast<int>(std::min<size_t>(size, INT_MAX)); }

}  // namespace

void TlsSession::Free::operator()(SSL* tls) const { SSL_free(tls); }

TlsSession::TlsSession(SSL_CTX* context, int fd) : tls_(SSL_new(context)) {
  BIO* const bio = BIO_new(SocketMethod());
  if (!tls_ || bio == nullptr) {
    BIO_free(bio);
    throw std::bad_alloc();
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(tls_.get(), bio, bio);  // takes it
  SSL_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

TlsSession::~TlsSession() = default;

TlsSession::Step TlsSession::StepOf(int result) {
  namespace asio = boost::asio;
  if (result > 0) return {Next::kDone, static_cast<size_t>(result), {}};
  const int saved_errno = errno;
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {Next::kWaitToRead, 0, {}};
    case SSL_ERROR_WANT_WRITE:
      return {Next::kWaitToWrite, 0, {}};
    case SSL_ERROR_ZERO_RETURN:
      return {Next::kFailed, 0, asio::error::eof};
    case SSL_ERROR_SYSCALL:
      if (ERR_peek_error() == 0) {
        return {Next::kFailed, 0,
                saved_errno != 0 ? error_code(saved_errno, asio::error::get_system_category())
                                 : error_code(asio::ssl::error::stream_truncated)};
      }
      [[fallthrough]];
    default:
      return {Next::kFailed, 0,
              error_code(static_cast<int>(ERR_get_error()), asio::error::get_ssl_category())};
  }
}

TlsSession::Step TlsSession::Accept() {
  ERR_clear_error();
  errno = 0;
  return StepOf(SSL_accept(tls_.get()));
}

TlsSession::Step TlsSession::Read(boost::asio::mutable_buffer buffer) {
  ERR_clear_error();
  errno = 0;
  return StepOf(SSL_read(tls_.get(), buffer.data(), AtMostInt(buffer.size())));
}

TlsSession::Step TlsSession::Write(boost::asio::const_buffer bytes) {
  if (bytes.size() == 0) return {};
  ERR_clear_error();
  errno = 0;
  return StepOf(SSL_write(tls_.get(), bytes.data(), AtMostInt(bytes.size())));
}

TlsSession::Step TlsSession::Shutdown() {
  ERR_clear_error();
  errno = 0;
  int result = SSL_shutdown(tls_.get());
  if (result == 0) result = SSL_shutdown(tls_.get());  // ours is sent; theirs may be here already
  return StepOf(result);
}

}  // namespace millrace::http_internal
