// What a client may not do: sizes, times, malformed bytes.
#include "http/server_test_util.h"

namespace millrace {
namespace {

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
