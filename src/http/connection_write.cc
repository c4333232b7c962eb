// The writing half of Connection: heads, whole responses, chunked streams, the careful close.
#include <fmt/core.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <utility>

#include "http/connection.h"

namespace millrace::http_internal {
namespace {

constexpr size_t kLingerBytes = 32 * 1024 * 1024;
constexpr std::chrono::milliseconds kLingerTime{2000};

// No header value of ours may begin a new line, whatever was put into it.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';
  }
  return text;
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[64];
  const size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text, size);
}

}  // namespace

asio::awaitable<Connection::NextStep> Connection::Answer(Exchange& exchange) {
  while (true) {
    Exchange::Output output = exchange.Take();
    error_code error;
    if (cut_ || output.failed) {
      exchange.Disconnect();
      cut_ = true;  // without the stream's end: the client must see that it is incomplete
      co_return NextStep::kClose;
    }
    if (output.whole) {
      HttpResponse response = *std::move(output.whole);
      if (response.status >= 500 && response.body.empty()) {
        response =
            shared_->config.error_format(500, "The server failed to answer this request.", {});
      }
      error = co_await WriteWhole(response);
      if (error) exchange.Disconnect();
      co_return !error && keep_alive_ ? NextStep::kAnother : NextStep::kClose;
    }
    if (!output.empty()) {
      error = co_await WriteStreamPart(output);
      if (!error && output.stream_finished) {
        co_return keep_alive_ ? NextStep::kAnother : NextStep::kClose;
      }
    } else if (!peer_gone_) {
      if (!watching_) StartWatching();
      co_await WaitForWake();
    } else {
      // Gone or half-closed. A stream ends here; a whole answer, which the handler still owes, may
      // yet be wanted.
      if (stream_started_) co_return NextStep::kClose;
      co_await WaitForWake();
    }
    if (error) {
      exchange.Disconnect();
      cut_ = true;
      co_return NextStep::kClose;
    }
  }
}

asio::awaitable<error_code> Connection::WriteWhole(const HttpResponse& response) {
  if (finishing_) keep_alive_ = false;
  const bool has_body = response.status >= 200 && response.status != 204 && response.status != 304;
  std::string bytes = Head(response, has_body ? std::optional(response.body.size()) : std::nullopt);
  if (has_body && !is_head_) bytes += response.body;
  co_return co_await Write(bytes);
}

asio::awaitable<error_code> Connection::WriteStreamPart(Exchange::Output& output) {
  std::string bytes;
  const bool chunked = version_11_;
  if (output.stream_head) {
    stream_started_ = true;
    if (finishing_ || !chunked) keep_alive_ = false;
    if (chunked) output.stream_head->headers.push_back({"Transfer-Encoding", "chunked"});
    bytes = Head(*output.stream_head, std::nullopt);
  }
  if (!is_head_) {
    if (!output.bytes.empty()) {
      bytes +=
          chunked ? fmt::format("{:x}\r\n{}\r\n", output.bytes.size(), output.bytes) : output.bytes;
    }
    if (output.stream_finished && chunked) bytes += "0\r\n" + Trailers(output) + "\r\n";
  }
  output.bytes = std::string();
  co_return co_await Write(bytes);
}

// RFC 9110, section 6.5.1: only to those who said that they take them.
std::string Connection::Trailers(const Exchange::Output& output) const {
  std::string fields;
  if (!takes_trailers_) return fields;
  for (const HttpHeader& field : output.trailers) {
    fields += fmt::format("{}: {}\r\n", OneLine(field.name), OneLine(field.value));
  }
  return fields;
}

std::string Connection::CorsFields() const {
  // What an answer is depends on the origin, so caches must keep them apart.
  if (shared_->config.allowed_origins.empty()) return {};
  std::string fields = "Vary: Origin\r\n";
  if (origin_.empty()) return fields;
  fields += fmt::format(
      "Access-Control-Allow-Origin: {}\r\n"
      "Access-Control-Expose-Headers: x-request-id, request-id, retry-after, "
      "x-millrace-savings\r\n",
      OneLine(origin_));
  if (!preflight_headers_.empty()) {
    fields += fmt::format(
        "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"
        "Access-Control-Allow-Headers: {}\r\nAccess-Control-Max-Age: 600\r\n",
        OneLine(preflight_headers_));
  }
  return fields;
}

std::string Connection::Head(const HttpResponse& response,
                             std::optional<size_t> content_length) const {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status,
                                 ReasonPhrase(response.status), HttpDate());
  if (!response.content_type.empty() && response.status != 204) {
    head += fmt::format("Content-Type: {}\r\n", OneLine(response.content_type));
  }
  if (content_length) head += fmt::format("Content-Length: {}\r\n", *content_length);
  for (const HttpHeader& header : response.headers) {
    head += fmt::format("{}: {}\r\n", OneLine(header.name), OneLine(header.value));
  }
  head += CorsFields();
  if (!keep_alive_) {
    head += "Connection: close\r\n";
  } else if (!version_11_) {
    head += "Connection: keep-alive\r\n";
  }
  return head + "\r\n";
}

asio::awaitable<error_code> Connection::Write(std::string_view bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    SetDeadline(shared_->config.write_stall);
    const auto [error, count] =
        co_await WriteSome(asio::buffer(bytes.data() + written, bytes.size() - written));
    written += count;
    if (error) {
      ClearDeadline();
      co_return error;
    }
  }
  ClearDeadline();
  co_return error_code();
}

asio::awaitable<void> Connection::LingeringClose() {
  // Closing with unread input would send a reset, which can destroy the answer before the client
  // reads it (RFC 9112, section 9.6): say that we are done, then read and drop what still comes,
  // for a while.
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  if (peer_gone_) co_return;
  SetDeadline(kLingerTime);
  buffer_.clear();
  // Of TLS the bytes as they come: nobody wants to know what they say.
  for (size_t dropped = 0; dropped < kLingerBytes && !cut_;) {
    const auto [error, bytes] =
        co_await socket_.async_read_some(buffer_.prepare(kReadSize), kAwait);
    if (error) break;
    dropped += bytes;
  }
  ClearDeadline();
}

}  // namespace millrace::http_internal
