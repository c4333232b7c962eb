// What TLS adds to Connection: the waits of the handshake, of reads and writes, and of the goodbye.
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

asio::awaitable<error_code> Connection::WaitFor(TlsSession::Next next) {
  if (timed_out_ || cut_) co_return asio::error::operation_aborted;
  const auto [error] = co_await socket_.async_wait(next == TlsSession::Next::kWaitToWrite
                                                       ? asio::ip::tcp::socket::wait_write
                                                       : asio::ip::tcp::socket::wait_read,
                                                   kAwait);
  co_return error;
}

asio::awaitable<bool> Connection::Handshake() {
  SetDeadline(shared_->config.header_time);
  TlsSession::Step step = tls_->Accept();
  while (step.next != TlsSession::Next::kDone && step.next != TlsSession::Next::kFailed) {
    if ((step.error = co_await WaitFor(step.next))) break;
    step = tls_->Accept();
  }
  ClearDeadline();
  timed_out_ = false;
  if (!step.error) co_return true;
  unread_input_ = true;  // behind an alert, or the words below
  if (IsPlainHttp(step.error)) {
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
  timed_out_ = false;
  SetDeadline(kGoodbyeTime);
  TlsSession::Step step = tls_->Shutdown();
  while (step.next != TlsSession::Next::kDone && step.next != TlsSession::Next::kFailed) {
    if (co_await WaitFor(step.next)) break;
    step = tls_->Shutdown();
  }
  ClearDeadline();
}

// What is here already; would_block: nothing.
error_code Connection::ReadTlsNow() {
  const TlsSession::Step step = tls_->Read(buffer_.prepare(kReadSize));
  buffer_.commit(step.bytes);
  const bool nothing =
      step.next == TlsSession::Next::kWaitToRead || step.next == TlsSession::Next::kWaitToWrite;
  return nothing ? error_code(asio::error::would_block) : step.error;
}

asio::awaitable<error_code> Connection::ReadSomeOfTls() {
  while (true) {
    const error_code error = ReadTlsNow();
    if (error != asio::error::would_block) co_return error;
    // (A read that has to write first, a new key for instance, is done by the next write.)
    const error_code waited = co_await WaitFor(TlsSession::Next::kWaitToRead);
    if (waited) co_return waited;
  }
}

asio::awaitable<std::tuple<error_code, size_t>> Connection::WriteSomeOfTls(
    asio::const_buffer bytes) {
  while (true) {
    const TlsSession::Step step = tls_->Write(bytes);
    const bool ended =
        step.next == TlsSession::Next::kDone || step.next == TlsSession::Next::kFailed;
    if (ended) co_return std::tuple(step.error, step.bytes);
    const error_code waited = co_await WaitFor(step.next);
    if (waited) co_return std::tuple(waited, size_t{0});
  }
}

}  // namespace millrace::http_internal
