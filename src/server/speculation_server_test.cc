// Speculation over HTTP: the answers are those without it, and what was drafted is told in the
// stream, in the ledger, in /metrics and in the timeline alike.
#include "server/server_test_util.h"

namespace millrace {
namespace {

class SpeculationServerTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    speculation_ = Speculation::kLookup;
    habit_ = 9;
  }

  static json Asking(const char* speculate) {
    json request = Chat(200);
    request["temperature"] = 0.8;
    request["millrace"] = {{"speculate", speculate}};
    return request;
  }

  // The sum of all samples of a metric.
  double Metric(const std::string& name) {
    const std::string text = TestClient(port()).Get("/metrics").body;
    double sum = 0;
    for (size_t at = text.find("\n" + name); at != std::string::npos;
         at = text.find("\n" + name, at + 1)) {
      const char next = text[at + 1 + name.size()];
      if (next != '{' && next != ' ') continue;
      const size_t end = text.find('\n', at + 1);
      sum += std::stod(text.substr(text.rfind(' ', end) + 1, end));
    }
    return sum;
  }
};

TEST_F(SpeculationServerTest, AnswersAreTheSameAndTheLedgerTells) {
  StartServer();
  json plain = json::parse(Post(kChatPath, Asking("off")).body);
  json drafted = json::parse(Post(kChatPath, Asking("lookup")).body);
  EXPECT_EQ(drafted["choices"], plain["choices"]);
  const json& ledger = drafted["usage"]["millrace"];
  EXPECT_GT(ledger["accepted_tokens"], 20);
  EXPECT_GT(ledger["drafted_tokens"], ledger["accepted_tokens"]);
  EXPECT_NE(ledger["speculation_saved_ms"], 0.0);
  EXPECT_EQ(plain["usage"]["millrace"]["drafted_tokens"], 0);
  EXPECT_LE(plain["usage"]["millrace"]["speculation_saved_ms"], 0.0);  // what asking costs
  EXPECT_EQ(drafted["usage"]["completion_tokens"], 200);
}

TEST_F(SpeculationServerTest, ExplainTellsOfEachDraftAndMetricsAddThemUp) {
  ServerConfig config;
  config.metric_names = MetricNames::kAlsoVllm;
  config.debug_endpoints = true;
  StartServer(std::move(config));
  json request = Asking("lookup");
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  request["millrace"]["explain"] = true;
  int64_t drafts = 0, proposed = 0, accepted = 0;
  json ledger;
  for (const std::string& event : EventsOf(Post(kChatPath, request).body)) {
    if (event == "[DONE]") continue;
    const json chunk = json::parse(event);
    if (chunk["usage"].is_object()) ledger = chunk["usage"]["millrace"];
    if (!chunk.contains("millrace")) continue;
    const json& draft = chunk["millrace"]["draft"];
    EXPECT_EQ(draft["drafter"], "lookup");
    ++drafts;
    proposed += static_cast<int64_t>(draft["proposed"].size());
    accepted += draft["accepted"].get<int64_t>();
    ASSERT_LE(draft["accepted"], draft["proposed"].size());
    // What corrects a draft is not what was proposed.
    if (draft["accepted"] < draft["proposed"].size()) {
      EXPECT_NE(draft["next"], draft["proposed"][draft["accepted"].get<size_t>()]);
    }
  }
  EXPECT_GT(drafts, 10);
  EXPECT_EQ(ledger["drafted_tokens"], proposed);
  EXPECT_EQ(ledger["accepted_tokens"], accepted);

  const auto count = [&](const char* name) {
    return static_cast<int64_t>(Metric("millrace:speculation_" + std::string(name)));
  };
  EXPECT_EQ(count("drafts_total"), drafts);
  EXPECT_EQ(count("draft_tokens_total"), proposed);
  EXPECT_EQ(count("accepted_tokens_total"), accepted);
  EXPECT_EQ(count("draft_tokens_per_pos_total"), proposed);
  EXPECT_EQ(count("accepted_tokens_per_pos_total"), accepted);
  EXPECT_EQ(count("verified_tokens_total"), drafts + accepted);
  EXPECT_GT(Metric("millrace:speculation_verifying_seconds_total"), 0.0);
  EXPECT_EQ(Metric("vllm:spec_decode_num_accepted_tokens_per_pos_total"), accepted);
  EXPECT_EQ(Metric("vllm:spec_decode_num_drafts_total"), drafts);

  json timeline;
  ASSERT_TRUE(Eventually([&] {  // the last step is noted after its events
    timeline = json::parse(TestClient(port()).Get("/debug/timeline").body);
    const json& last = timeline["steps"].back()["parts"];
    return !last.empty() && last[0].contains("finished");
  }));
  int64_t rows = 0;
  for (const json& step : timeline["steps"]) {
    for (const json& part : step["parts"]) rows += part.value("draft", 0);
  }
  EXPECT_EQ(rows, proposed);
}

TEST_F(SpeculationServerTest, ADraftModelThatIsNotThereIsRefused) {
  StartServer();
  const ClientResponse answer = Post(kChatPath, Asking("draft"));
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("needs a draft model"), std::string::npos) << answer.body;
}

TEST_F(SpeculationServerTest, StopStringsEndAnswersInsideADraft) {
  StartServer();
  const json whole = json::parse(Post(kChatPath, Asking("off")).body);
  const std::string text = whole["choices"][0]["message"]["content"];
  ASSERT_GT(text.size(), 60u);
  for (const size_t at : {40u, 47u, 55u}) {
    json request = Asking("lookup");
    request["stop"] = text.substr(at, 3);
    json plain = request;
    plain["millrace"]["speculate"] = "off";
    const json drafted = json::parse(Post(kChatPath, request).body);
    const json expected = json::parse(Post(kChatPath, plain).body);
    EXPECT_EQ(drafted["choices"], expected["choices"]);
    EXPECT_EQ(drafted["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(drafted["usage"]["completion_tokens"], expected["usage"]["completion_tokens"]);
  }
}

}  // namespace
}  // namespace millrace
