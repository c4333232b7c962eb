#include "http/connection.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>

namespace millrace::http_internal {
bool BodyBudget::Resize(size_t bytes) {
  if (bytes > held_) {
    const size_t more = bytes - held_;
    if (shared_->body_bytes.fetch_add(more) + more > shared_->config.max_total_body_bytes) {
      shared_->body_bytes.fetch_sub(more);
      return false;
    }
  } else {
    shared_->body_bytes.fetch_sub(held_ - bytes);
  }
  held_ = bytes;
  return true;
}

Connection::Connection(asio::ip::tcp::socket socket, std::shared_ptr<Shared> shared,
                       std::function<void(Connection*)> on_end)
    : shared_(std::move(shared)),
      socket_(std::move(socket)),
      alarm_(socket_.get_executor()),
      wake_(socket_.get_executor()),
      on_end_(std::move(on_end)),
      buffer_(shared_->config.max_header_bytes + kMaxPipelinedBytes + kReadSize) {
  wake_.expires_at(asio::steady_timer::time_point::max());
  error_code ignored;
  const auto endpoint = socket_.remote_endpoint(ignored);
  peer_ = endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  if (const auto context = shared_->Tls()) {
    socket_.native_non_blocking(true, ignored);
    tls_ = std::make_unique<TlsSession>(context->native_handle(), socket_.native_handle());
  }
}

void Connection::Start() {
  auto self = shared_from_this();
  asio::co_spawn(
      socket_.get_executor(), [self]() -> asio::awaitable<void> { co_await self->Run(); },
      [self](std::exception_ptr) {
        // An exception (no memory) ends this connection and leaves the others alone.
        if (self->exchange_) {
          self->exchange_->Disconnect();
          self->exchange_->Complete();
        }
        self->ClearDeadline();
        self->alarm_.cancel();
        self->watching_ = false;
        error_code ignored;
        self->socket_.close(ignored);
        self->on_end_(self.get());
      });
}

void Connection::FinishSoon() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->finishing_ = true;
    if (!self->idle_ || !self->socket_.is_open()) return;  // it may be over already
    error_code ignored;
    self->socket_.cancel(ignored);
    if (self->tls_) self->SetDeadline(std::chrono::milliseconds(0));
  });
}

void Connection::Cut() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->cut_ = self->finishing_ = true;
    if (self->exchange_) self->exchange_->Disconnect();
    error_code ignored;
    self->socket_.close(ignored);
    self->Wake();
  });
}

asio::awaitable<void> Connection::Run() {
  if (tls_ && !co_await Handshake()) co_return;
  while (!cut_) {
    BodyBudget budget(*shared_);
    std::optional<HttpRequest> request = co_await ReadRequest(budget);
    if (!request) break;
    std::weak_ptr<Connection> weak = weak_from_this();
    exchange_ = std::make_shared<Exchange>(shared_->config.stream_buffer_limit, [weak] {
      const auto self = weak.lock();
      if (!self) return;
      asio::post(self->socket_.get_executor(), [weak] {
        if (const auto alive = weak.lock()) alive->Wake();
      });
    });
    if (peer_gone_) exchange_->Disconnect();
    try {
      shared_->handler(*std::move(request), Responder(exchange_));
    } catch (const std::exception&) {
      exchange_->Abandon();  // a 500, or a stream that is cut
    }
    const NextStep next = co_await Answer(*exchange_);
    exchange_->Complete();
    exchange_.reset();
    co_await StopWatching();
    if (next == NextStep::kClose) break;
  }
  if (!cut_ && tls_) co_await SayGoodbye();
  if (!cut_ && unread_input_) co_await LingeringClose();
}

// ---- Reading ----

asio::awaitable<error_code> Connection::ReadSome() {
  if (timed_out_) co_return asio::error::operation_aborted;  // between two reads
  if (tls_) co_return co_await ReadSomeOfTls();
  const auto [error, bytes] = co_await socket_.async_read_some(buffer_.prepare(kReadSize), kAwait);
  buffer_.commit(bytes);
  co_return error;
}

asio::awaitable<bool> Connection::WaitForFirstByte() {
  // Empty lines before a request are skipped (RFC 9112, section 2.2).
  while (true) {
    while (buffer_.size() > 0) {
      const char c = *static_cast<const char*>(buffer_.data().data());
      if (c != '\r' && c != '\n') co_return true;
      buffer_.consume(1);
    }
    if (finishing_ || peer_gone_) co_return false;
    if (co_await ReadSome()) co_return false;
  }
}

asio::awaitable<error_code> Connection::ReadHeader(Parser& parser) {
  parser.eager(false);
  while (true) {
    if (buffer_.size() > 0) {
      error_code error;
      buffer_.consume(parser.put(buffer_.data(), error));
      if (parser.is_header_done()) co_return error;
      if (error && error != boost::beast::http::error::need_more) co_return error;
    }
    if (peer_gone_) co_return asio::error::eof;
    if (const error_code error = co_await ReadSome()) co_return error;
  }
}

asio::awaitable<error_code> Connection::ReadBody(Parser& parser) {
  parser.eager(true);
  // Beast 1.81 asserts that a last chunk whose size it has seen has come to five bytes when it is
  // asked again: none ends with fewer, so they are waited for.
  const auto has_half_a_chunk = [this, &parser] {
    const std::string_view bytes(static_cast<const char*>(buffer_.data().data()), buffer_.size());
    return parser.chunked() && bytes.size() < 5 && bytes.starts_with("0\r\n");
  };
  while (!parser.is_done()) {
    error_code error;
    if (buffer_.size() > 0 && !has_half_a_chunk()) {
      buffer_.consume(parser.put(buffer_.data(), error));
      if (parser.is_done()) break;
      if (error && error != boost::beast::http::error::need_more) co_return error;
    }
    if (peer_gone_) co_return asio::error::eof;
    if ((error = co_await ReadSome())) co_return error;
  }
  co_return error_code();
}

asio::awaitable<std::optional<HttpRequest>> Connection::ReadRequest(BodyBudget& budget) {
  const HttpConfig& config = shared_->config;
  idle_ = true;
  timed_out_ = false;
  SetDeadline(config.idle_time);
  if (!co_await WaitForFirstByte()) co_return std::nullopt;
  idle_ = false;

  Parser parser;
  parser.header_limit(static_cast<uint32_t>(config.max_header_bytes));
  parser.body_limit(config.max_body_bytes);
  SetDeadline(config.header_time);
  keep_alive_ = is_head_ = stream_started_ = false;
  origin_.clear();
  preflight_headers_.clear();
  version_11_ = true;
  if (const error_code error = co_await ReadHeader(parser)) {
    const Refusal refusal =
        RefusalFor(error, parser.get().target().empty() ? Part::kRequestLine : Part::kFields);
    co_await Refuse(refusal, parser.get().target());
    co_return std::nullopt;
  }
  version_11_ = parser.get().version() >= 11;
  is_head_ = parser.get().method() == boost::beast::http::verb::head;
  TakeOrigin(parser);
  const std::optional<Refusal> header_refusal = CheckHeader(parser);
  if (header_refusal) {
    co_await Refuse(*header_refusal, parser.get().target());
    co_return std::nullopt;
  }
  const auto declared = parser.content_length();
  const size_t expected =
      declared ? static_cast<size_t>(*declared) : (parser.chunked() ? config.max_body_bytes : 0);
  if (!budget.Resize(expected)) {
    const Refusal refusal{503, "Too many large requests are under way; try again later."};
    co_await Refuse(refusal, parser.get().target());
    co_return std::nullopt;
  }
  SetDeadline(config.body_time);
  if (expected > 0 && version_11_ && !parser.get()[boost::beast::http::field::expect].empty()) {
    if (co_await Write("HTTP/1.1 100 Continue\r\n\r\n")) co_return std::nullopt;
    SetDeadline(config.body_time);
  }
  if (const error_code error = co_await ReadBody(parser)) {
    const Refusal refusal = RefusalFor(error, Part::kBody);
    co_await Refuse(refusal, parser.get().target());
    co_return std::nullopt;
  }
  ClearDeadline();
  budget.Resize(parser.get().body().size());
  keep_alive_ = parser.get().keep_alive();
  takes_trailers_ = ListContains(parser.get()[boost::beast::http::field::te], "trailers");
  co_return ToRequest(parser);
}

void Connection::TakeOrigin(const Parser& parser) {
  namespace http = boost::beast::http;
  const auto& message = parser.get();
  const std::string origin(message[http::field::origin]);
  const auto& allowed = shared_->config.allowed_origins;
  const auto matches = [&origin](const std::string& one) { return one == "*" || one == origin; };
  if (origin.empty() || std::none_of(allowed.begin(), allowed.end(), matches)) return;
  origin_ = origin;
  if (message.method() != http::verb::options) return;
  if (message[http::field::access_control_request_method].empty()) return;
  preflight_headers_ = std::string(message[http::field::access_control_request_headers]);
  if (preflight_headers_.empty()) preflight_headers_ = "Content-Type";
}

std::optional<Connection::Refusal> Connection::CheckHeader(const Parser& parser) const {
  namespace http = boost::beast::http;
  const auto& message = parser.get();
  if (message.version() != 10 && message.version() != 11) {
    return Refusal{505, "Only HTTP/1.0 and HTTP/1.1 are spoken here."};
  }
  if (message.target().size() > shared_->config.max_target_bytes) {
    return Refusal{414, "The request target is longer than " +
                            std::to_string(shared_->config.max_target_bytes) + " bytes."};
  }
  if (message.version() == 11 && message.count(http::field::host) != 1) {
    return Refusal{400, "An HTTP/1.1 request must have exactly one Host header."};
  }
  // A transfer coding that we do not know hides where the body ends; so does one together with a
  // length.
  if (message.count(http::field::transfer_encoding) > 0 &&
      (!EqualsIgnoringCase(message[http::field::transfer_encoding], "chunked") ||
       message.count(http::field::transfer_encoding) > 1 ||
       message.count(http::field::content_length) > 0 || message.version() == 10)) {
    return Refusal{501,
                   "The only Transfer-Encoding accepted is chunked, without a Content-Length."};
  }
  const auto expect = message[http::field::expect];
  if (!expect.empty() && !EqualsIgnoringCase(expect, "100-continue")) {
    return Refusal{417, "The only expectation that can be met is 100-continue."};
  }
  HttpRequest request;
  if (Status status = ParseTarget(message.target(), request); !status.ok()) {
    return Refusal{400, status.error().message};
  }
  return std::nullopt;
}

Connection::Refusal Connection::RefusalFor(error_code error, Part part) const {
  namespace http = boost::beast::http;
  const HttpConfig& config = shared_->config;
  if (cut_) return {};
  if (timed_out_) {
    return {408, part == Part::kBody ? "The request body did not arrive in time."
                                     : "The request header did not arrive in time."};
  }
  if (error == http::error::header_limit) {
    if (part == Part::kRequestLine) {
      return {414, "The request line is longer than the header limit of " +
                       std::to_string(config.max_header_bytes) + " bytes."};
    }
    return {431, "The request header is larger than " + std::to_string(config.max_header_bytes) +
                     " bytes."};
  }
  if (error == http::error::body_limit) {
    return {413,
            "The request body is larger than " + std::to_string(config.max_body_bytes) + " bytes."};
  }
  if (error == asio::error::eof) return {400, "The request ended before it was complete."};
  if (error.category() == make_error_code(http::error::bad_method).category()) {
    return {400, "The request is not well-formed HTTP: " + error.message() + "."};
  }
  return {};  // the socket is broken
}

HttpRequest Connection::ToRequest(Parser& parser) const {
  auto& message = parser.get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  CHECK(ParseTarget(message.target(), request).ok());  // CheckHeader has seen it
  for (const auto& field : message) {
    request.headers.push_back({std::string(field.name_string()), std::string(field.value())});
  }
  request.body = std::move(message.body());
  request.peer = peer_;
  return request;
}

asio::awaitable<void> Connection::Refuse(const Refusal& refusal, std::string_view target) {
  ClearDeadline();
  timed_out_ = false;
  keep_alive_ = false;
  if (refusal.status == 0) {
    cut_ = true;
    co_return;
  }
  unread_input_ = true;
  const HttpResponse response =
      shared_->config.error_format(refusal.status, refusal.message, target);
  co_await WriteWhole(response);
}

}  // namespace millrace::http_internal
