// What goes on in Connection beside reading and writing: deadlines, wake-ups, the watch for a
// client that goes away.
#include <boost/asio/buffer.hpp>
#include <utility>

#include "http/connection.h"

namespace millrace::http_internal {

void Connection::SetDeadline(std::chrono::milliseconds time) {
  deadline_ = std::chrono::steady_clock::now() + time;
  if (deadline_ < alarm_at_) SetAlarm();
}

void Connection::ClearDeadline() { deadline_ = SteadyTime::max(); }

// A request has several deadlines, and nearly all are met: setting a timer for each would cost more
// system calls than the request's own.
void Connection::SetAlarm() {
  alarm_at_ = deadline_;
  alarm_.expires_at(alarm_at_);
  alarm_.async_wait([self = shared_from_this()](error_code error) {
    if (error) return;
    self->alarm_at_ = SteadyTime::max();
    if (self->deadline_ == SteadyTime::max()) return;
    if (std::chrono::steady_clock::now() < self->deadline_) return self->SetAlarm();
    self->ClearDeadline();
    self->timed_out_ = true;
    error_code ignored;
    self->socket_.cancel(ignored);
  });
}

void Connection::Wake() {
  error_code ignored;
  if (exchange_ && exchange_->overflowed()) socket_.cancel(ignored);
  wake_.cancel();
}

asio::awaitable<void> Connection::WaitForWake() { co_await wake_.async_wait(kAwait); }

void Connection::StartWatching() {
  watching_ = true;
  if (!watch_pending_ && !peer_gone_) ReadAhead();
}

void Connection::ReadAhead() {
  watch_pending_ = true;
  auto done = [self = shared_from_this()](error_code error, size_t bytes = 0) {
    self->watch_pending_ = false;
    self->buffer_.commit(bytes);
    if (error && error != asio::error::operation_aborted) {
      self->peer_gone_ = true;
      if (self->exchange_) self->exchange_->Disconnect();
    } else if (self->watching_) {
      self->StartWatching();
    }
    self->Wake();
  };
  if (buffer_.size() >= kMaxPipelinedBytes) {
    // The client sends far ahead: read no more, so only a reset is noticed.
    socket_.async_wait(asio::ip::tcp::socket::wait_error, std::move(done));
  } else if (tls_) {
    socket_.async_wait(asio::ip::tcp::socket::wait_read,
                       [self = shared_from_this(), done = std::move(done)](error_code error) {
                         if (!error) error = self->ReadTlsNow();
                         done(error == asio::error::would_block ? error_code() : error);
                       });
  } else {
    socket_.async_read_some(buffer_.prepare(kReadSize), std::move(done));
  }
}

asio::awaitable<void> Connection::StopWatching() {
  watching_ = false;
  error_code ignored;
  if (watch_pending_) socket_.cancel(ignored);
  while (watch_pending_) co_await WaitForWake();
}

}  // namespace millrace::http_internal
