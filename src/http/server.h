// HttpServer: HTTP/1.1 (and 1.0) over TCP with limits on everything a client controls. Knows
// nothing of language models.
//
// Each connection is a coroutine on its own strand; one request at a time per connection, pipelined
// requests wait. While an answer is being made the connection keeps a read pending, so that a
// client that goes away is noticed at once. Invariant: after Stop no thread of the server runs, no
// handler is called and every connection is closed.
//
// A client that shuts down its sending side counts as gone: OnDisconnect fires and event streams
// end. (A closed socket looks the same from here.) A whole response is still written to it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/message.h"
#include "http/responder.h"
#include "http/tls.h"

namespace millrace {

struct HttpConfig {
  std::string address = "127.0.0.1";  // an IP address
  uint16_t port = 0;                  // 0: the system chooses; see HttpServer::port()
  int io_threads = 1;
  size_t max_connections = 4096;  // past it: 503 and close
  size_t max_header_bytes = 32 * 1024;
  size_t max_target_bytes = 8 * 1024;
  size_t max_body_bytes = 8 * 1024 * 1024;
  size_t max_total_body_bytes =
      256 * 1024 * 1024;  // bodies of all requests under way; past it: 503
  size_t stream_buffer_limit =
      1024 * 1024;  // unread event bytes per stream; past it the stream is cut
  std::chrono::milliseconds header_time{
      10'000};  // from a request's first byte to the end of its header
  std::chrono::milliseconds body_time{60'000};  // from the end of the header to the end of the body
  std::chrono::milliseconds idle_time{75'000};  // between requests
  std::chrono::milliseconds write_stall{30'000};  // without a byte taken by the client
  // Web pages of these origins ("https://app.example", or "*": any) may send requests and read the
  // answers (CORS, fetch.spec.whatwg.org section 3.3). None: no answer says anything of it, so
  // browsers keep the pages of all others out.
  std::vector<std::string> allowed_origins;
  std::optional<TlsFiles> tls;  // none: plain HTTP
  ErrorFormat error_format = PlainError;
};

class HttpServer {
 public:
  // `handler` must stay callable until Stop has returned.
  HttpServer(HttpConfig config, HttpHandler handler);
  ~HttpServer();  // stops at once
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds, listens and starts the threads. kInvalidArgument for an address that is none, or files
  // of TLS that do not fit, kIo when it cannot be bound. Once only; after a failure nothing runs.
  Status Start();
  // Reads the files of TLS anew, for connections to come. After a failure the old ones stay in use.
  // Without TLS it does nothing. From any thread.
  Status ReloadTls();
  uint16_t port() const;  // the bound port, after Start
  size_t connections() const;

  // Stops accepting, closes idle connections, lets answers under way finish for up to `limit` and
  // cuts the rest (their disconnect callbacks fire). Blocks; not from a handler. True when nothing
  // had to be cut. Again: does nothing.
  bool Stop(std::chrono::milliseconds limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
