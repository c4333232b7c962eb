// The dashboard's page, its policy and its event stream.
#include "server/server_test_util.h"

namespace millrace {
namespace {

class DashboardTest : public ServerTest {
 protected:
  void StartDashboard(ServerConfig config = {}) {
    config.debug_endpoints = true;  // the fixture's engine keeps a timeline then
    config.dashboard.emplace();
    config.dashboard->files = {{"/", "text/html; charset=utf-8", "<p>page</p>", "packed"},
                               {"/app.js", "text/javascript; charset=utf-8", "run()", "zipped"}};
    config.dashboard->samples = "{\"expected\":\"a\"}\n{\"expected\":\"b\"}\n";
    config.dashboard->switches = {{"kv-type", "f32"}};
    StartServer(std::move(config));
  }
  // The first `count` events of the stream.
  std::vector<json> Watch(const std::string& query, size_t count, const std::string& headers = "") {
    TestClient client(port());
    client.Send("GET /debug/events?" + query + " HTTP/1.1\r\nHost: t\r\n" + headers + "\r\n");
    EXPECT_EQ(client.ReadHead().status, 200);
    std::string seen;
    std::vector<json> events;
    for (bool ended = false; events.size() < count && !ended;) {
      const std::string more = client.ReadChunk(ended);
      if (more.empty()) break;
      seen += more;
      for (size_t at = 0; (at = seen.find("data: ", at)) != std::string::npos;) {
        const size_t end = seen.find("\n\n", at);
        if (end == std::string::npos) break;
        events.push_back(json::parse(seen.substr(at + 6, end - at - 6)));
        seen.erase(0, end + 2);
        at = 0;
      }
    }
    return events;
  }
};

TEST_F(DashboardTest, ServesItsFilesCompressedWhereThatIsTaken) {
  StartDashboard();
  TestClient client(port());
  const ClientResponse plain = client.Get("/");
  EXPECT_EQ(plain.status, 200);
  EXPECT_EQ(plain.body, "<p>page</p>");
  EXPECT_EQ(plain.headers.count("content-encoding"), 0u);
  const std::string policy = plain.headers.at("content-security-policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  const ClientResponse packed = client.Get("/app.js", "Accept-Encoding: br, gzip\r\n");
  EXPECT_EQ(packed.body, "zipped");
  EXPECT_EQ(packed.headers.at("content-encoding"), "gzip");
  EXPECT_EQ(packed.headers.at("content-type"), "text/javascript; charset=utf-8");
  EXPECT_NE(packed.headers.at("etag"), client.Get("/app.js").headers.at("etag"));
  TestClient again(port());
  again.Send("GET /app.js HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\nIf-None-Match: " +
             packed.headers.at("etag") + "\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(again.ReadHead().status, 304);
  EXPECT_EQ(again.ReadToEnd(), "");
  EXPECT_EQ(TestClient(port()).Get("/", "If-None-Match: \"other\"\r\n").status, 200);
}

TEST_F(DashboardTest, ThePageIsOpenAndItsDataAreNot) {
  ServerConfig config;
  config.keys = ApiKeys::Plain({"secret"});
  StartDashboard(std::move(config));
  TestClient client(port());
  EXPECT_EQ(client.Get("/").status, 200);
  for (const char* path : {"/debug/about", "/debug/events", "/debug/timeline", "/debug/kv"})
    EXPECT_EQ(client.Get(path).status, 401) << path;
  EXPECT_EQ(client.Get("/debug/about", "Authorization: Bearer secret\r\n").status, 200);
}

TEST_F(DashboardTest, AboutNamesTheModelAndTheSwitches) {
  StartDashboard();
  const json about = json::parse(TestClient(port()).Get("/debug/about").body);
  EXPECT_EQ(about["model"], "org/fake");
  EXPECT_EQ(about["version"], "test");
  EXPECT_EQ(about["context_length"], 2048);
  EXPECT_EQ(about["switches"], (json{{"kv-type", "f32"}}));
}

TEST_F(DashboardTest, SamplesAreAList) {
  StartDashboard();
  const json samples = json::parse(TestClient(port()).Get("/debug/samples").body);
  EXPECT_EQ(samples, (json::array({{{"expected", "a"}}, {{"expected", "b"}}})));
}

TEST_F(DashboardTest, AnEventTellsWhatMetricsAndTimelineTell) {
  StartDashboard();
  ASSERT_EQ(Post(kChatPath, Chat(5)).status, 200);
  int looks = 0;
  ASSERT_TRUE(Eventually([&] {
    ++looks;
    return json::parse(TestClient(port()).Get("/debug/timeline").body)["steps"].size() == 5;
  }));
  const auto events = Watch("topics=steps,kv,prefixes", 1);
  ASSERT_EQ(events.size(), 1u);
  const json& event = events[0];
  const std::string metrics = TestClient(port()).Get("/metrics").body;
  const json& load = event["load"];
  EXPECT_EQ(load["generated_tokens"], 5);
  EXPECT_NE(metrics.find("millrace:generation_tokens_total 5"), std::string::npos);
  EXPECT_EQ(load["prompt_tokens"], 3);
  EXPECT_EQ(load["ended"]["completed"], 1 + looks);
  EXPECT_EQ(load["first_token"]["count"], 1);
  EXPECT_EQ(load["between_tokens"]["count"], 4);
  EXPECT_TRUE(load["between_tokens"]["p99"].is_null());
  EXPECT_EQ(load["blocks_cached"], 1);

  const json timeline = json::parse(TestClient(port()).Get("/debug/timeline").body);
  ASSERT_EQ(event["steps"].size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    const json& step = event["steps"][i];
    EXPECT_EQ(step[0], timeline["steps"][i]["step"]);
    EXPECT_EQ(step[4][0][2], timeline["steps"][i]["parts"][0]["tokens"]);
    EXPECT_EQ(step[4][0][1], i == 0 ? 3 : 4);
  }
  EXPECT_EQ(event["names"], timeline["requests"]);
  EXPECT_EQ(event["static"]["busy"], 5);
  EXPECT_EQ(event["static"]["static_busy"], 5);

  const json& kv = event["kv"];
  EXPECT_EQ(kv["blocks"], 4096);
  int64_t blocks = 0, cached = 0;
  for (const json& run : kv["runs"]) {
    blocks += run[0].get<int64_t>();
    if (run[1] == 1) cached += run[0].get<int64_t>();
  }
  EXPECT_EQ(blocks, 4096);
  EXPECT_EQ(cached, 1);
  ASSERT_EQ(event["prefixes"]["runs"].size(), 1u);
  EXPECT_EQ(event["prefixes"]["runs"][0][1], 3 + 4);  // the last token was never computed
  EXPECT_NE(event["prefixes"]["runs"][0][6].get<std::string>().find("hello"), std::string::npos);

  ASSERT_EQ(event["ended"].size(), 1u);
  EXPECT_EQ(event["ended"][0]["ledger"]["computed_tokens"], 7);
  EXPECT_EQ(event["ended"][0]["finish"], "length");
}

TEST_F(DashboardTest, TellsOnlyWhatIsAskedForAndWhatIsNew) {
  StartDashboard();
  ASSERT_EQ(Post(kChatPath, Chat(2)).status, 200);
  const auto events = Watch("topics=kv", 2);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_FALSE(events[0].contains("steps"));
  EXPECT_FALSE(events[0].contains("prefixes"));
  EXPECT_TRUE(events[0].contains("kv"));
  EXPECT_TRUE(events[0].contains("ended"));
  EXPECT_FALSE(events[1].contains("ended"));
  EXPECT_GT(events[1]["now_ms"], events[0]["now_ms"]);
  EXPECT_EQ(TestClient(port()).Get("/debug/events?topics=secrets").status, 400);
}

TEST_F(DashboardTest, TextOfCachedPromptsIsToldToTheirKeyOnly) {
  ServerConfig config;
  config.keys = ApiKeys::Plain({"mine", "yours"});
  StartDashboard(std::move(config));
  ASSERT_EQ(Post(kChatPath, Chat(2), "Authorization: Bearer mine\r\n").status, 200);
  const auto mine = Watch("topics=prefixes", 1, "Authorization: Bearer mine\r\n");
  const auto yours = Watch("topics=prefixes", 1, "Authorization: Bearer yours\r\n");
  ASSERT_EQ(mine.size(), 1u);
  ASSERT_EQ(yours.size(), 1u);
  EXPECT_TRUE(mine[0]["prefixes"]["runs"][0][6].is_string());
  EXPECT_TRUE(yours[0]["prefixes"]["runs"][0][6].is_null());
  EXPECT_EQ(yours[0]["prefixes"]["runs"][0][1], mine[0]["prefixes"]["runs"][0][1]);
}

TEST_F(DashboardTest, RefusesMoreWatchersThanItServes) {
  StartDashboard();
  std::vector<std::unique_ptr<TestClient>> watching;
  for (int i = 0; i < 16; ++i) {
    watching.push_back(std::make_unique<TestClient>(port()));
    watching.back()->Send("GET /debug/events HTTP/1.1\r\nHost: t\r\n\r\n");
    EXPECT_EQ(watching.back()->ReadHead().status, 200);
  }
  EXPECT_EQ(TestClient(port()).Get("/debug/events").status, 503);
  watching.pop_back();
  EXPECT_TRUE(Eventually([&] {
    TestClient client(port());
    client.Send("GET /debug/events HTTP/1.1\r\nHost: t\r\n\r\n");
    return client.ReadHead().status == 200;
  }));
}

TEST_F(DashboardTest, MeasuresAttentionBothWays) {
  StartDashboard();
  TestClient client(port());
  const std::string kJson = "Content-Type: application/json\r\n";
  const ClientResponse response = client.Post("/debug/attention", "{\"tokens\": 100}", kJson);
  ASSERT_EQ(response.status, 200) << response.body;
  const json measured = json::parse(response.body);
  EXPECT_EQ(measured["tokens"], 100);
  const KvShape shape = FakeModel::Shape();
  // Scores and probabilities, floats, of each query against the keys of four whole blocks.
  EXPECT_EQ(measured["standard"]["intermediate_bytes"], 2 * 4 * 100 * 128 * shape.kv_heads);
  EXPECT_EQ(measured["flash"]["intermediate_bytes"], 0);
  for (const char* way : {"standard", "flash"}) {
    EXPECT_EQ(measured[way]["ms"].size(), 5u);
    EXPECT_GT(measured[way]["largest_difference"], 0);
    EXPECT_LT(measured[way]["largest_difference"], 0.02);  // bf16 keys, queries and weights
  }
  for (const char* body :
       {"{}", "{\"tokens\": 1}", "{\"tokens\": 1000000}", "[]", "{\"tokens\": 64.5}"})
    EXPECT_EQ(client.Post("/debug/attention", body, kJson).status, 400) << body;
  EXPECT_EQ(
      client.Post("/debug/attention", "{\"tokens\": 100}", "Content-Type: text/plain\r\n").status,
      415);
}

TEST_F(DashboardTest, AMeasurementIsStartedWatchedAndCancelled) {
  ServerConfig config;
  config.dashboard.emplace();
  MeasureState state;
  std::vector<std::string> asked;
  MeasureHooks& hooks = config.dashboard->measure;
  hooks.start = [&](const std::vector<std::string>& switches, double minutes) -> Status {
    if (minutes > 5) return Error{"minutes must be at most 5."};
    asked = switches;
    state.state = "running";
    state.total = 20;
    return {};
  };
  hooks.state = [&] { return state; };
  hooks.cancel = [&] { state.state = "cancelled"; };
  hooks.report = [&] { return state.state == "done" ? std::string("{\"stage\":\"x\"}") : ""; };
  config.debug_endpoints = true;
  StartServer(std::move(config));
  TestClient client(port());
  const auto post = [&](const std::string& body) {
    return client.Post("/debug/measure", body, "Content-Type: application/json\r\n");
  };
  EXPECT_EQ(post("{\"switches\": \"kv\"}").status, 400);
  EXPECT_EQ(post("{\"switches\": [\"kv\"], \"minutes\": 9}").status, 400);
  EXPECT_EQ(client.Post("/debug/measure", "{\"switches\": [\"kv\"]}").status, 415);
  EXPECT_TRUE(asked.empty());
  const ClientResponse started = post("{\"switches\": [\"kv\", \"batching\"], \"minutes\": 2}");
  EXPECT_EQ(started.status, 202) << started.body;
  EXPECT_EQ(asked, (std::vector<std::string>{"kv", "batching"}));
  EXPECT_EQ(json::parse(client.Get("/debug/measure").body)["total"], 20);
  EXPECT_EQ(Watch("", 1)[0]["measure"]["state"], "running");
  client.Send("DELETE /debug/measure HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(json::parse(client.ReadResponse().body)["state"], "cancelled");
  state.state = "done";
  EXPECT_EQ(json::parse(client.Get("/debug/measure").body)["report"]["stage"], "x");
}

TEST_F(DashboardTest, DrainingEndsTheStream) {
  StartDashboard();
  TestClient client(port());
  client.Send("GET /debug/events HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(client.ReadHead().status, 200);
  EXPECT_TRUE(server_->Drain(milliseconds(1000)));
}

}  // namespace
}  // namespace millrace
