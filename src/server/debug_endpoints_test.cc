#include <map>

#include "server/server_test_util.h"

namespace millrace {
namespace {

class DebugEndpointsTest : public ServerTest {
 protected:
  void StartDebugServer(ServerConfig config = {}) {
    config.debug_endpoints = true;
    StartServer(std::move(config));
  }
};

TEST_F(DebugEndpointsTest, TimelineShowsEachRequestsPart) {
  StartDebugServer();
  const ClientResponse answer = Post(kChatPath, Chat(5));
  ASSERT_EQ(answer.status, 200);
  json timeline;
  // The last step is noted after its events.
  ASSERT_TRUE(Eventually([&] {
    timeline = json::parse(TestClient(port()).Get("/debug/timeline").body);
    return timeline["steps"].size() == 5;
  }));
  double end = 0;
  std::map<std::string, int> tokens;
  for (const json& step : timeline["steps"]) {
    EXPECT_GE(step["begin_ms"], end);
    end = step["begin_ms"].get<double>() + step["ms"].get<double>();
    ASSERT_EQ(step["parts"].size(), 1u);
    const json& part = step["parts"][0];
    EXPECT_EQ(part["request"], 0);
    EXPECT_EQ(part["emitted"], 1);
    EXPECT_EQ(part.contains("finished"), step["step"] == 5);
    tokens[part["part"]] += part["tokens"].get<int>();
  }
  EXPECT_EQ(tokens, (std::map<std::string, int>{{"prefill", 3}, {"decode", 4}}));
  EXPECT_GE(timeline["now_ms"], end);
  EXPECT_EQ(timeline["requests"], (json{{"0", answer.headers.at("x-request-id") + "/0"}}));

  TestClient client(port());
  const json last = json::parse(client.Get("/debug/timeline?x=1&steps=2").body);
  ASSERT_EQ(last["steps"].size(), 2u);
  EXPECT_EQ(last["steps"][1]["step"], 5);
  EXPECT_EQ(client.Get("/debug/timeline?steps=two").status, 400);
  EXPECT_EQ(client.Get("/debug/timeline?steps=-1").status, 400);
  EXPECT_EQ(client.Get("/debug/timeline?steps=").status, 400);
}

TEST_F(DebugEndpointsTest, KvMapShowsWhoHasWhat) {
  StartDebugServer();
  const ClientResponse idle = TestClient(port()).Get("/debug/kv");
  ASSERT_EQ(idle.status, 200) << idle.body;
  const json before = json::parse(idle.body);
  EXPECT_EQ(before["layout"], "paged");
  ASSERT_EQ(before["blocks"].size(), 4096u);
  for (const json& block : before["blocks"]) EXPECT_EQ(block, json::object());
  json request = Chat(1);
  ASSERT_EQ(Post(kChatPath, request).status, 200);  // leaves a block to the prefix cache
  const json after = json::parse(TestClient(port()).Get("/debug/kv").body);
  int used = 0;
  for (const json& block : after["blocks"]) {
    if (block.empty()) continue;
    ++used;
    EXPECT_EQ(block, (json{{"holders", 1}, {"filled", 3}, {"cached", true}}));
  }
  EXPECT_EQ(used, 1);
}

TEST_F(DebugEndpointsTest, AreOffByDefault) {
  StartServer();
  EXPECT_EQ(TestClient(port()).Get("/debug/timeline").status, 404);
  EXPECT_EQ(TestClient(port()).Get("/debug/kv").status, 404);
}

TEST_F(DebugEndpointsTest, NeedAKey) {
  ServerConfig config;
  config.keys = ApiKeys::Plain({"secret"});
  StartDebugServer(std::move(config));
  EXPECT_EQ(TestClient(port()).Get("/debug/timeline").status, 401);
  EXPECT_EQ(TestClient(port()).Get("/debug/timeline", "Authorization: Bearer secret\r\n").status,
            200);
}

}  // namespace
}  // namespace millrace
