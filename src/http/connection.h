// Connection: one client's socket, as a coroutine: read a request, have it answered, write the
// answer, again. Internal to http/: the only header that includes Boost. Invariant: every member is
// touched on the strand only.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "http/exchange.h"
#include "http/server.h"
#include "http/tls_session.h"

namespace millrace::http_internal {

namespace asio = boost::asio;
using boost::system::error_code;
// A coroutine's wait whose error is a value.
inline constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
inline constexpr size_t kReadSize = 16 * 1024;
inline constexpr size_t kMaxPipelinedBytes = 64 * 1024;  // read ahead while an answer is made
using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

// What the connections of one server share. It lives as long as the last connection, which a late
// producer of an answer may hold for a moment after the server has gone.
struct Shared {
  Shared(HttpConfig c, HttpHandler h)
      : config(std::move(c)), handler(std::move(h)), context(config.io_threads) {}

  std::shared_ptr<asio::ssl::context> Tls() {
    std::lock_guard lock(tls_mutex);
    return tls;
  }

  HttpConfig config;
  HttpHandler handler;
  asio::io_context context;
  std::mutex tls_mutex;
  std::shared_ptr<asio::ssl::context> tls;  // of connections to come; none: they are plain
  std::atomic<size_t> body_bytes{0};        // of all requests under way
};

// A part of Shared::body_bytes, given back on destruction.
class BodyBudget {
 public:
  explicit BodyBudget(Shared& shared) : shared_(&shared) {}
  ~BodyBudget() { Resize(0); }
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;
  // False, and nothing changed, when all together would be over the limit.
  bool Resize(size_t bytes);

 private:
  Shared* shared_;
  size_t held_ = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `on_end` runs on the strand when the connection is over.
  Connection(asio::ip::tcp::socket socket, std::shared_ptr<Shared> shared,
             std::function<void(Connection*)> on_end);

  void Start();
  // From any thread: close when idle, else after the answer under way.
  void FinishSoon();
  // From any thread: close now; a pending answer is cut.
  void Cut();

 private:
  struct Refusal {
    int status = 0;  // 0: say nothing, just close
    std::string message;
  };
  enum class Part { kRequestLine, kFields, kBody };
  enum class NextStep { kAnother, kClose };

  // Arguments by reference: the caller's coroutine holds them while it waits. (GCC 12 destroys some
  // temporaries in a co_await expression twice, so arguments with destructors are named variables.)
  asio::awaitable<void> Run();
  // Nothing when the connection is to be closed quietly.
  asio::awaitable<std::optional<HttpRequest>> ReadRequest(BodyBudget& budget);
  asio::awaitable<bool> WaitForFirstByte();
  asio::awaitable<error_code> ReadHeader(Parser& parser);
  asio::awaitable<error_code> ReadBody(Parser& parser);
  asio::awaitable<error_code> ReadSome();
  std::optional<Refusal> CheckHeader(const Parser& parser) const;
  Refusal RefusalFor(error_code error, Part part) const;
  asio::awaitable<void> Refuse(const Refusal& refusal, std::string_view target);
  HttpRequest ToRequest(Parser& parser) const;

  asio::awaitable<NextStep> Answer(Exchange& exchange);
  asio::awaitable<error_code> WriteWhole(const HttpResponse& response);
  asio::awaitable<error_code> WriteStreamPart(Exchange::Output& output);
  asio::awaitable<error_code> Write(std::string_view bytes);
  asio::awaitable<void> LingeringClose();
  asio::awaitable<void> WaitForWake();
  std::string Trailers(const Exchange::Output& output) const;
  std::string Head(const HttpResponse& response, std::optional<size_t> content_length) const;
  std::string CorsFields() const;
  void TakeOrigin(const Parser& parser);

  // TLS only.
  asio::awaitable<bool> Handshake();  // false: there is nothing more to do
  asio::awaitable<void> SayGoodbye();
  asio::awaitable<error_code> WaitFor(TlsSession::Next next);
  error_code ReadTlsNow();
  asio::awaitable<error_code> ReadSomeOfTls();
  asio::awaitable<std::tuple<error_code, size_t>> WriteSomeOfTls(asio::const_buffer bytes);

  asio::awaitable<std::tuple<error_code, size_t>> WriteSome(asio::const_buffer bytes) {
    if (tls_) return WriteSomeOfTls(bytes);
    return socket_.async_write_some(bytes, kAwait);
  }
  void ReadAhead();
  void StartWatching();  // for a client that goes away while its answer is waited for
  asio::awaitable<void> StopWatching();
  void SetDeadline(std::chrono::milliseconds time);
  void ClearDeadline();
  void SetAlarm();
  void Wake();

  const std::shared_ptr<Shared> shared_;  // first: it owns the context that the others need
  asio::ip::tcp::socket socket_;
  std::unique_ptr<TlsSession> tls_;  // over socket_; none: its bytes are the client's own
  asio::steady_timer alarm_;         // rings at the deadline or before, and is then set again
  asio::steady_timer wake_;
  std::function<void(Connection*)> on_end_;
  boost::beast::flat_buffer buffer_;
  std::string peer_;
  std::shared_ptr<Exchange> exchange_;  // of the request being answered

  using SteadyTime = asio::steady_timer::time_point;
  SteadyTime deadline_ = SteadyTime::max();  // max: none
  SteadyTime alarm_at_ = SteadyTime::max();  // when the alarm rings; max: it is not set
  bool timed_out_ = false;
  bool idle_ = true;        // between requests
  bool finishing_ = false;  // no further request
  bool cut_ = false;
  bool watching_ = false;       // the watch is wanted
  bool watch_pending_ = false;  // its operation is under way
  bool peer_gone_ = false;
  bool unread_input_ = false;  // of a refused request: close with care
  // Of the request being answered.
  bool keep_alive_ = false;
  bool is_head_ = false;
  bool version_11_ = true;
  bool stream_started_ = false;
  bool takes_trailers_ = false;
  std::string origin_;             // the page's, where it is allowed
  std::string preflight_headers_;  // that a page asks to send
};

}  // namespace millrace::http_internal
