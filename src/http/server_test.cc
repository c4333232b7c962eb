// Requests and their answers; connections; the end of the server.
#include "http/server_test_util.h"

namespace millrace {
namespace {

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
  // A path that has a known one's end, or ends with one, names it.
  const std::string asked = "; is it /hello that you want?";
  EXPECT_NE(client.Get("/v1/hello").body.find("/v1/hello" + asked), std::string::npos);
  for (const char* path : {"/", "/v1/", "/hell", "/hello/", "/nothing"}) {
    EXPECT_EQ(client.Get(path).body.find("you want"), std::string::npos) << path;
  }
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

// As slow clients send them: cut after every byte, and in two at every place.
TEST_F(HttpServerTest, ChunkedBodiesInPieces) {
  StartServer();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  for (const std::string body : {"0\r\n\r\n", "4;e=1\r\nWiki\r\n0;e\r\nTrailer: x\r\n\r\n"}) {
    const std::string expected = body[0] == '0' ? "" : "Wiki";
    TestClient client(port());
    client.Send(head);
    for (const char byte : body) {
      pause();
      client.Send(std::string(1, byte));
    }
    EXPECT_EQ(client.ReadResponse().body, expected);
    for (size_t cut = 0; cut <= body.size(); ++cut) {
      client.Send(head + body.substr(0, cut));
      pause();
      client.Send(body.substr(cut) + "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
      EXPECT_EQ(client.ReadResponse().body, expected) << cut;
      EXPECT_EQ(client.ReadResponse().body, "hello") << cut;
    }
  }
  TestClient client(port());  // one that ends within what was waited for
  client.Send(head + "0\r\n\r");
  client.HalfClose();
  EXPECT_EQ(client.ReadResponse().status, 400);
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

}  // namespace
}  // namespace millrace
