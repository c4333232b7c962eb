// Clients that leave, many streams at once, and the end of the server.
#include "server/server_test_util.h"

namespace millrace {
namespace {

TEST_F(ServerTest, AClientThatLeavesIsCancelled) {
  StartServer({}, milliseconds(5));
  for (const bool stream : {false, true}) {
    json request = Chat(2000);
    request["stream"] = stream;
    const size_t before = Records().size();
    {
      TestClient client(port());
      client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                  std::to_string(request.dump().size()) + "\r\n\r\n" + request.dump());
      ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 1; }));
    }
    const int64_t steps = engine_->stats().steps;
    ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
    EXPECT_LT(engine_->stats().steps - steps, 1000);  // long before its 2000 tokens
    ASSERT_TRUE(Eventually([&] { return Records().size() == before + 1; }));
    EXPECT_EQ(Records().back().end, EndState::kCancelled);
    EXPECT_EQ(Records().back().status, 499);
  }
}

TEST_F(ServerTest, ManyStreamsSomeCut) {
  StartServer();
  constexpr int kStreams = 64;
  std::atomic<int> complete{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kStreams; ++t) {
    threads.emplace_back([&, t] {
      json request = Chat(60);
      request["stream"] = true;
      request["seed"] = t;
      TestClient client(port());
      const std::string body = request.dump();
      client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
      if (t % 5 == 0) {
        bool ended = false;
        if (client.ReadHead().status == 200) client.ReadChunk(ended);
        client.Reset();
        return;
      }
      const ClientResponse response = client.ReadResponse();
      if (response.complete && response.body.ends_with("data: [DONE]\n\n")) ++complete;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(complete, kStreams - 13);
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running + engine_->stats().waiting == 0; }));
  EXPECT_TRUE(Eventually([&] { return Records().size() == kStreams; }));  // one line for each
  EXPECT_EQ(engine_->stats().blocks_held, 0);
}

TEST_F(ServerTest, DrainFinishesWhatRuns) {
  StartServer({}, milliseconds(2));
  TestClient client(port());
  json request = Chat(100);
  request["stream"] = true;
  const std::string body = request.dump();
  client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 1; }));
  TestClient probe(port());
  ASSERT_EQ(probe.Get("/health/ready").status, 200);
  std::atomic<bool> graceful{false};
  std::thread drainer([&] { graceful = server_->Drain(kClientPatience); });
  EXPECT_TRUE(client.ReadResponse().body.ends_with("data: [DONE]\n\n"));
  drainer.join();
  EXPECT_TRUE(graceful);
  EXPECT_FALSE(TestClient(port()).connected());
}

TEST_F(ServerTest, DrainCutsAtItsLimit) {
  StartServer({}, milliseconds(5));
  TestClient client(port());
  json request = Chat(2000);
  request["stream"] = true;
  const std::string body = request.dump();
  client.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(Eventually([&] { return engine_->stats().running == 1; }));
  EXPECT_FALSE(server_->Drain(milliseconds(50)));
  EXPECT_FALSE(client.ReadResponse().complete);
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
  EXPECT_TRUE(Eventually([&] { return Records().size() == 1; }));
}

}  // namespace
}  // namespace millrace
