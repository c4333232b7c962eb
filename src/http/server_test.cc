#include "http/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "http/router.h"
#include "http/test_client.h"

namespace millrace {
namespace {

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

constexpr char kHello[] = "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n";
constexpr char kHold[] = "GET /hold HTTP/1.1\r\nHost: t\r\n\r\n";

TEST_F(HttpServerTest, AnswersAndKeepsAlive) {
  StartServer();
  TestClient client(port());
  for (int i = 0; i < 3; ++i) {
    const ClientResponse response = client.Get("/hello");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "hello");
    EXPECT_TRUE(response.headers.count("date"));
    EXPECT_FALSE(response.headers.count("connection"));
  }
  EXPECT_EQ(client.Post("/echo", "some body").body, "some body");
  EXPECT_EQ(client.Get("/under/a%2Fb/c").body, "a/b/c");
  EXPECT_EQ(client.Get("/hello", "Connection: close\r\n").headers["connection"], "close");
  EXPECT_TRUE(client.EndsWithClose());
}

TEST_F(HttpServerTest, MethodsAndPaths) {
  StartServer();
  TestClient client(port());
  EXPECT_EQ(client.Get("/nothing").status, 404);
  EXPECT_EQ(client.Get("/under/").status, 404);
  const ClientResponse wrong = client.Post("/hello", "x");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "GET, HEAD, OPTIONS");
  client.Send("OPTIONS /echo HTTP/1.1\r\nHost: t\r\n\r\n");
  const ClientResponse options = client.ReadResponse();
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.at("allow"), "POST, OPTIONS");
  EXPECT_FALSE(options.headers.count("content-length"));
  client.Send("HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n");
  const ClientResponse head = client.ReadResponse(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-length"), "5");
  client.Send("BREW /hello HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().status, 405);
  EXPECT_EQ(client.Get("/hello").body, "hello");  // HEAD sent no body: still in step
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  StartServer();
  TestClient client(port());
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n" +
                std::to_string(10 + i) + "\r\n";  // with the stray line end that some clients send
  }
  client.Send(requests);
  client.HalfClose();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.ReadResponse().body, std::to_string(10 + i));
  EXPECT_TRUE(client.EndsWithClose());
}

TEST_F(HttpServerTest, ChunkedBodiesAndExpectations) {
  StartServer();
  TestClient client(port());
  client.Send(
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "4;ext=1\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().body, "Wikipedia");
  client.Send(
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().status, 100);
  client.Send("abc");
  EXPECT_EQ(client.ReadResponse().body, "abc");
  client.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: coffee\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().status, 417);
}

TEST_F(HttpServerTest, Http10) {
  StartServer();
  TestClient client(port());
  client.Send("GET /hello HTTP/1.0\r\n\r\n");
  const ClientResponse response = client.ReadResponse();
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(response.headers.at("connection"), "close");
  EXPECT_TRUE(client.EndsWithClose());

  TestClient keeper(port());
  keeper.Send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(keeper.ReadResponse().headers.at("connection"), "keep-alive");
  keeper.Send("GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  Responder responder = Held();
  responder.StartEventStream();
  responder.SendEvent("one");
  responder.Close();
  const ClientResponse stream = keeper.ReadResponse();
  EXPECT_FALSE(stream.headers.count("transfer-encoding"));
  EXPECT_EQ(stream.body, "data: one\n\n");
}

TEST_F(HttpServerTest, SizeLimits) {
  HttpConfig config;
  config.max_body_bytes = 1000;
  config.max_header_bytes = 4000;
  config.max_target_bytes = 500;
  StartServer(config);
  struct Case {
    std::string request;
    int status;
  };
  const std::string post = "POST /echo HTTP/1.1\r\nHost: t\r\n";
  const Case cases[] = {
      {post + "Content-Length: 1001\r\n\r\n", 413},
      {post + "Content-Length: 99999999999999\r\n\r\n", 413},
      {post + "Transfer-Encoding: chunked\r\n\r\n3E9\r\n" + std::string(1001, 'x') + "\r\n", 413},
      {post + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n", 413},
      {"GET /" + std::string(501, 'a') + " HTTP/1.1\r\nHost: t\r\n\r\n", 414},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: t\r\n\r\n", 414},
      {"GET /hello HTTP/1.1\r\nHost: t\r\nX: " + std::string(5000, 'a') + "\r\n\r\n", 431},
      {post + "Content-Length: 1000\r\n\r\n" + std::string(1000, 'x'), 200},
  };
  for (const Case& c : cases) {
    TestClient client(port());
    client.Send(c.request);
    const ClientResponse response = client.ReadResponse();
    EXPECT_EQ(response.status, c.status) << c.request.substr(0, 100);
    if (c.status != 200) {
      EXPECT_TRUE(client.EndsWithClose());
    }
  }
}

TEST_F(HttpServerTest, ALargeRefusedBodyDoesNotDestroyTheAnswer) {
  HttpConfig config;
  config.max_body_bytes = 1000;
  StartServer(config);
  TestClient client(port());
  client.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4000000\r\n\r\n");
  client.Send(std::string(4'000'000, 'x'));
  EXPECT_EQ(client.ReadResponse().status, 413);
}

TEST_F(HttpServerTest, BodiesOfAllRequestsTogetherAreBounded) {
  HttpConfig config;
  config.max_total_body_bytes = 1000;
  StartServer(config);
  TestClient first(port());
  first.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 600\r\n\r\n");
  std::optional<ClientResponse> refused;
  ASSERT_TRUE(Eventually([&] {  // until the server has seen the first header
    TestClient second(port());
    const ClientResponse response = second.Post("/echo", std::string(600, 'b'));
    if (response.status == 503) refused = response;
    return refused.has_value();
  }));
  first.Send(std::string(600, 'a'));
  EXPECT_EQ(first.ReadResponse().status, 200);
  EXPECT_TRUE(Eventually(
      [&] { return TestClient(port()).Post("/echo", std::string(600, 'c')).status == 200; }));
}

TEST_F(HttpServerTest, MalformedRequestsAreRefused) {
  StartServer();
  const char* bad[] = {
      "\x16\x03\x01\x02\x01\x01\xfc\x03\r\n\r\n",  // TLS
      "GET\r\n\r\n",
      "GET /hello\r\n\r\n",
      "GET /hello HTTP/2.0\r\nHost: t\r\n\r\n",
      "GET /hello HTTP/1.1\r\n\r\n",
      "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET hello HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET /hello HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n",
      "GET /hello HTTP/1.1\r\nHost: t\r\nno colon\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  };
  for (const char* request : bad) {
    TestClient client(port());
    client.Send(request);
    const int status = client.ReadResponse().status;
    EXPECT_TRUE(status == 400 || status == 501 || status == 505) << status << ": " << request;
    EXPECT_TRUE(client.EndsWithClose());
  }
  TestClient half(port());
  half.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
  half.HalfClose();
  EXPECT_EQ(half.ReadResponse().status, 400);
  EXPECT_EQ(TestClient(port()).Get("/hello").status, 200);
}

TEST_F(HttpServerTest, SlowHeadersAndBodiesAndIdleConnectionsEnd) {
  HttpConfig config;
  config.header_time = milliseconds(150);
  config.body_time = milliseconds(150);
  config.idle_time = milliseconds(150);
  StartServer(config);
  TestClient header(port());
  header.Send("GET /hello HTTP/1.1\r\nHost: t\r\nX: ");
  TestClient body(port());
  body.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
  TestClient idle(port());
  EXPECT_EQ(idle.Get("/hello").status, 200);
  TestClient dribble(port());
  std::thread dribbler([&] {  // a byte now and then does not extend the time
    while (dribble.Send("G")) std::this_thread::sleep_for(milliseconds(20));
  });
  EXPECT_EQ(header.ReadResponse().status, 408);
  EXPECT_TRUE(header.EndsWithClose());
  EXPECT_EQ(body.ReadResponse().status, 408);
  EXPECT_TRUE(idle.EndsWithClose());
  dribbler.join();
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, HandlersThatFailGiveA500) {
  StartServer();
  TestClient client(port());
  EXPECT_EQ(client.Get("/drop").status, 500);
  const ClientResponse thrown = client.Get("/throw");
  EXPECT_EQ(thrown.status, 500);
  EXPECT_FALSE(thrown.body.empty());
  const ClientResponse evil = client.Get("/evil");
  EXPECT_EQ(evil.status, 200);
  EXPECT_FALSE(evil.headers.count("x-injected"));
}

TEST_F(HttpServerTest, EventsArriveWhileTheStreamIsOpen) {
  StartServer();
  TestClient client(port());
  client.Send(kHold);
  Responder responder = Held();
  ASSERT_TRUE(responder.StartEventStream({{"X-Request-Id", "7"}}));
  const ClientResponse head = client.ReadHead();
  EXPECT_EQ(head.headers.at("content-type"), "text/event-stream");
  EXPECT_EQ(head.headers.at("x-request-id"), "7");
  bool ended = false;
  for (int i = 0; i < 5; ++i) {
    responder.SendEvent(std::to_string(i));
    EXPECT_EQ(client.ReadChunk(ended), "data: " + std::to_string(i) + "\n\n");
  }
  responder.Close();
  EXPECT_EQ(client.ReadChunk(ended), "");
  EXPECT_TRUE(ended);
  EXPECT_EQ(client.Get("/hello").body, "hello");  // the connection lives on
  EXPECT_EQ(disconnects_, 0);
}

TEST_F(HttpServerTest, AnAbandonedStreamIsNotEndedProperly) {
  StartServer();
  TestClient client(port());
  client.Send(kHold);
  {
    Responder responder = Held();
    responder.StartEventStream();
    responder.SendEvent("half");
    EXPECT_EQ(client.ReadHead().status, 200);
  }
  bool ended = false;
  while (!client.ReadChunk(ended).empty()) {
  }
  EXPECT_FALSE(ended);
}

TEST_F(HttpServerTest, DisconnectIsNoticedWhileNothingIsWritten) {
  StartServer();
  enum class End { kClose, kReset, kHalfClose };
  int expected = 0;
  for (const End end : {End::kClose, End::kReset, End::kHalfClose}) {
    for (const bool streaming : {false, true}) {
      TestClient client(port());
      client.Send(kHold);
      Responder responder = Held();
      if (streaming) {
        responder.StartEventStream();
        EXPECT_EQ(client.ReadHead().status, 200);
      }
      if (end == End::kClose) client.Close();
      if (end == End::kReset) client.Reset();
      if (end == End::kHalfClose) client.HalfClose();
      ++expected;
      EXPECT_TRUE(Eventually([&] { return disconnects_ == expected; }));
      EXPECT_TRUE(responder.disconnected());
      if (streaming) {
        EXPECT_FALSE(responder.SendEvent("nobody"));
      } else {
        EXPECT_TRUE(responder.Send(HttpResponse{200, "text/plain", "late", {}}));
        if (end == End::kHalfClose) {
          EXPECT_EQ(client.ReadResponse().body, "late");
        }
      }
    }
  }
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
  EXPECT_EQ(disconnects_, expected);
}

TEST_F(HttpServerTest, DisconnectIsNoticedBehindPipelinedBytes) {
  StartServer();
  TestClient client(port());
  client.Send(kHold);
  Responder responder = Held();
  client.Send(std::string(30'000, 'G'));
  client.Close();
  EXPECT_TRUE(Eventually([&] { return disconnects_ == 1; }));
}

TEST_F(HttpServerTest, AStreamThatIsNotReadIsCut) {
  HttpConfig config;
  config.stream_buffer_limit = 200'000;
  StartServer(config);
  TestClient client(port(), 4096);
  client.Send(kHold);
  Responder responder = Held();
  responder.StartEventStream();
  const std::string event(10'000, 'x');
  EXPECT_TRUE(Eventually([&] { return !responder.SendEvent(event); }));
  EXPECT_TRUE(Eventually([&] { return disconnects_ == 1; }));
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
  EXPECT_TRUE(client.EndsWithClose());
}

TEST_F(HttpServerTest, AStalledReaderIsCutInTime) {
  HttpConfig config;
  config.write_stall = milliseconds(200);
  config.stream_buffer_limit = 64 * 1024 * 1024;
  StartServer(config);
  TestClient client(port(), 4096);
  client.Send(kHold);
  Responder responder = Held();
  responder.StartEventStream();
  responder.SendEvent(std::string(32 * 1024 * 1024, 'x'));  // more than the socket takes
  EXPECT_TRUE(Eventually([&] { return disconnects_ == 1; }));
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, ManyConnections) {
  HttpConfig config;
  config.io_threads = 2;
  StartServer(config);
  constexpr int kClients = 200;
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<TestClient>(port()));
    ASSERT_TRUE(clients.back()->connected());
  }
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 3; ++round) {
        for (int i = t; i < kClients; i += 4) {
          const std::string body = std::to_string(i * 10 + round);
          if (clients[static_cast<size_t>(i)]->Post("/echo", body).body == body) ++good;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, kClients * 3);
  EXPECT_EQ(server_->connections(), static_cast<size_t>(kClients));
}

TEST_F(HttpServerTest, ConnectionsAreLimited) {
  HttpConfig config;
  config.max_connections = 2;
  StartServer(config);
  TestClient a(port());
  EXPECT_EQ(a.Get("/hello").status, 200);
  TestClient b(port());
  EXPECT_EQ(b.Get("/hello").status, 200);
  TestClient c(port());
  EXPECT_EQ(c.ReadResponse().status, 503);
  a.Close();
  EXPECT_TRUE(Eventually([&] { return TestClient(port()).Get("/hello").status == 200; }));
}

TEST_F(HttpServerTest, StopLetsAnswersFinish) {
  StartServer();
  TestClient idle(port());
  EXPECT_EQ(idle.Get("/hello").status, 200);
  TestClient busy(port());
  busy.Send(kHold);
  Responder responder = Held();
  responder.StartEventStream();
  std::atomic<bool> graceful{false};
  std::thread stopper([&] { graceful = server_->Stop(kClientPatience); });
  EXPECT_TRUE(idle.EndsWithClose());
  EXPECT_FALSE(TestClient(port()).Get("/hello").complete);
  responder.SendEvent("last");
  responder.Close();
  const ClientResponse response = busy.ReadResponse();
  EXPECT_EQ(response.body, "data: last\n\n");
  EXPECT_TRUE(response.complete);
  EXPECT_TRUE(busy.EndsWithClose());
  stopper.join();
  EXPECT_TRUE(graceful);
  EXPECT_EQ(disconnects_, 0);
}

TEST_F(HttpServerTest, StopCutsWhatDoesNotFinish) {
  StartServer();
  TestClient streaming(port());
  streaming.Send(kHold);
  Responder stream = Held();
  stream.StartEventStream();
  TestClient waiting(port());
  waiting.Send(kHold);
  Responder wait = Held();
  EXPECT_FALSE(server_->Stop(milliseconds(50)));
  EXPECT_EQ(disconnects_, 2);
  EXPECT_FALSE(streaming.ReadResponse().complete);
  EXPECT_EQ(waiting.ReadResponse().status, 0);
  server_.reset();
  EXPECT_FALSE(stream.SendEvent("to nobody"));  // a Responder may outlive its server
  EXPECT_FALSE(wait.Send(HttpResponse()));
}

TEST_F(HttpServerTest, ProducersRaceWithTheEndOfTheServer) {
  for (int round = 0; round < 20; ++round) {
    StartServer();
    TestClient client(port());
    client.Send(kHold);
    std::thread producer([responder = Held()] {
      responder.StartEventStream();
      for (int i = 0; i < 2000 && responder.SendEvent("x"); ++i) {
      }
    });
    server_->Stop(milliseconds(0));
    server_.reset();
    producer.join();
  }
}

TEST_F(HttpServerTest, ListenErrors) {
  StartServer();
  HttpConfig taken;
  taken.port = port();
  HttpServer second(taken, Router());
  const Status busy = second.Start();
  ASSERT_FALSE(busy.ok());
  EXPECT_EQ(busy.error().kind, ErrorKind::kIo);
  HttpConfig wrong;
  wrong.address = "not-an-address";
  HttpServer third(wrong, Router());
  EXPECT_EQ(third.Start().error().kind, ErrorKind::kInvalidArgument);
}

TEST_F(HttpServerTest, RandomBytesDoNoHarm) {
  HttpConfig config;
  config.header_time = config.body_time = config.idle_time = milliseconds(500);
  StartServer(config);
  const std::string pieces[] = {"GET ",
                                "/hello",
                                "/drop",
                                " HTTP/1.1\r\n",
                                "Host: t\r\n",
                                "\r\n",
                                "POST /echo",
                                "Content-Length: 5\r\n",
                                "Expect: 100-continue\r\n",
                                "Transfer-Encoding: chunked\r\n",
                                "\r\n\r\n",
                                "ffffffffffffffff",
                                "0\r\n\r\n",
                                kHello,
                                "Connection: close\r\n",
                                "\0\xff\n"};
  uint64_t state = 12345;
  const auto next = [&state](uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % bound;
  };
  for (int i = 0; i < 400; ++i) {
    TestClient client(port());
    std::string bytes;
    for (uint64_t k = next(12); k > 0; --k) {
      bytes += next(4) == 0 ? std::string(1, static_cast<char>(next(256)))
                            : pieces[next(std::size(pieces))];
    }
    client.Send(bytes);
    if (next(3) == 0) client.Reset();
  }
  EXPECT_EQ(TestClient(port()).Get("/hello").body, "hello");
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

}  // namespace
}  // namespace millrace
