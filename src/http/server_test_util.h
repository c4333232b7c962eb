// What the tests of HttpServer share: a server with a few routes.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "http/router.h"
#include "http/server.h"
#include "http/test_client.h"
#include "http/tls_test_util.h"

namespace millrace {

using std::chrono::milliseconds;

// A server with a few routes; /hold keeps its Responder for the test to use.
class HttpServerTest : public testing::Test {
 protected:
  void StartServer(HttpConfig config = {}) {
    Router router;
    router.Add("GET", "/hello", [](HttpRequest, Responder responder) {
      responder.Send(HttpResponse{200, "text/plain", "hello", {}});
    });
    router.Add("POST", "/echo", [](HttpRequest request, Responder responder) {
      responder.Send(HttpResponse{200, "text/plain", request.body, {}});
    });
    router.Add("GET", "/under/*", [](HttpRequest request, Responder responder) {
      responder.Send(HttpResponse{200, "text/plain", request.path_rest, {}});
    });
    router.Add("GET", "/hold", [this](HttpRequest, Responder responder) { Hold(responder); });
    router.Add("GET", "/drop", [](HttpRequest, Responder) {});
    router.Add("GET", "/throw",
               [](HttpRequest, Responder) { throw std::runtime_error("a broken handler"); });
    router.Add("GET", "/evil", [](HttpRequest, Responder responder) {
      responder.Send(HttpResponse{200, "text/plain", "", {{"X-Name", "a\r\nX-Injected: b"}}});
    });
    if (make_client_transport && !config.tls) config.tls = TestTlsFiles();
    server_.emplace(config, router);
    const Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started.error().message;
  }
  void TearDown() override {
    held_.reset();
    server_.reset();
  }

  void Hold(const Responder& responder) {
    responder.OnDisconnect([this] { ++disconnects_; });
    std::lock_guard lock(mutex_);
    held_ = responder;
  }
  // The Responder of the last request to /hold.
  Responder Held() {
    EXPECT_TRUE(Eventually([this] {
      std::lock_guard lock(mutex_);
      return held_.has_value();
    }));
    std::lock_guard lock(mutex_);
    return *std::exchange(held_, std::nullopt);
  }
  uint16_t port() const { return server_->port(); }

  std::mutex mutex_;
  std::optional<Responder> held_;
  std::atomic<int> disconnects_{0};
  std::optional<HttpServer> server_;
};

inline constexpr char kHello[] = "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n";
inline constexpr char kHold[] = "GET /hold HTTP/1.1\r\nHost: t\r\n\r\n";

}  // namespace millrace
