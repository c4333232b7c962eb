// What TLS adds to Connection: the handshake, reads that are never given up half-way, the goodbye.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "http/connection.h"

namespace millrace::http_internal {
namespace {

constexpr std::chrono::milliseconds kGoodbyeTime{1000};

bool IsPlainHttp(error_code error) {
  return error.category() == asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
}

}  // namespace

asio::awaitable<bool> Connection::Handshake() {
  SetDeadline(shared_->config.header_time);
  const auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::server, kAwait);
  ClearDeadline();
  timed_out_ = false;
  if (!error) co_return true;
  unread_input_ = true;  // behind an alert, or the words below
  if (IsPlainHttp(error)) {
    const HttpResponse response =
        shared_->config.error_format(400, "This port speaks TLS: use https://.", {});
    const std::string bytes = Head(response, response.body.size()) + response.body;
    SetDeadline(shared_->config.write_stall);
    co_await asio::async_write(socket_, asio::buffer(bytes), kAwait);
    ClearDeadline();
  }
  if (!cut_) co_await LingeringClose();
  co_return false;
}

// Without it a client could not tell a whole answer from one that somebody in between cut off.
asio::awaitable<void> Connection::SayGoodbye() {
  SetDeadline(kGoodbyeTime);
  co_await tls_->async_shutdown(kAwait);
  ClearDeadline();
}

// A read of TLS is several of the socket's, so it cannot be called off without a race. It goes on
// when an answer is complete, into memory of its own, and is then the next request's.
void Connection::TakeAhead(error_code error, size_t bytes) {
  read_error_ = error;
  buffer_.commit(asio::buffer_copy(buffer_.prepare(bytes), asio::buffer(ahead_.get(), bytes)));
}

asio::awaitable<error_code> Connection::ReadSomeOfTls() {
  if (timed_out_) co_return asio::error::operation_aborted;
  if (!watch_pending_) ReadAhead();
  while (watch_pending_) co_await WaitForWake();
  co_return std::exchange(read_error_, error_code());
}

}  // namespace millrace::http_internal
