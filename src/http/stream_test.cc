// Event streams, and clients that go away or stall; handlers that fail.
#include "http/server_test_util.h"

namespace millrace {
namespace {

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

TEST_F(HttpServerTest, TrailersGoToThoseWhoTakeThem) {
  StartServer();
  for (const bool takes : {false, true}) {
    TestClient client(port());
    client.Send(std::string("GET /hold HTTP/1.1\r\nHost: t\r\n") +
                (takes ? "Connection: close, TE\r\nTE: gzip, trailers\r\n\r\n"
                       : "Connection: close\r\n\r\n"));
    const Responder responder = Held();
    EXPECT_TRUE(responder.StartEventStream());
    EXPECT_TRUE(responder.SendEvent("x"));
    EXPECT_TRUE(responder.Close({{"x-sum", "1\r\n2"}}));
    const std::string all = client.ReadToEnd();
    EXPECT_TRUE(all.ends_with(takes ? "\r\n0\r\nx-sum: 1  2\r\n\r\n" : "\r\n0\r\n\r\n")) << all;
  }
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

}  // namespace
}  // namespace millrace
