// TlsSession: one connection's TLS, straight over its socket. Internal to http/.
//
// Every call does what it can at once and says what it waits for, so a wait can be called off at
// any time without a byte lost, and an idle connection holds no buffers: OpenSSL gives its own back
// (SSL_MODE_RELEASE_BUFFERS), and none stand between it and the socket. Invariant: the socket does
// not block; calls come one at a time, from the connection's strand.
#pragma once

#include <openssl/types.h>

#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <memory>

namespace millrace::http_internal {

class TlsSession {
 public:
  enum class Next { kDone, kWaitToRead, kWaitToWrite, kFailed };
  struct Step {
    Next next = Next::kDone;
    size_t bytes = 0;                 // read or written
    boost::system::error_code error;  // of kFailed; eof: the client has said goodbye
  };

  // `fd` stays the caller's.
  TlsSession(SSL_CTX* context, int fd);
  ~TlsSession();

  Step Accept();
  // Into `buffer`, which has room for a record (16 KiB), so that nothing read is kept back.
  Step Read(boost::asio::mutable_buffer buffer);
  // After kWaitToWrite, again with the same bytes. May write only some of them.
  Step Write(boost::asio::const_buffer bytes);
  // Says goodbye, and is done when the client has said it, too.
  Step Shutdown();

 private:
  struct Free {
    void operator()(SSL* tls) const;
  };
  Step StepOf(int result);

  std::unique_ptr<SSL, Free> tls_;
};

}  // namespace millrace::http_internal
