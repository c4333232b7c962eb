#include "server/server_test_util.h"

namespace millrace {
namespace {

// The prefix cache over HTTP: usage says what was taken from it, keys and salts keep it apart.
class PrefixServerTest : public ServerTest {
 protected:
  static json LongText(const json& change = json::object()) {
    json ids = json::array();
    for (int i = 0; i < 100; ++i) ids.push_back(1 + i % 7);
    json request = {{"prompt", ids}, {"max_tokens", 4}, {"temperature", 0}, {"ignore_eos", true}};
    request.update(change);
    return request;
  }
  int CachedTokens(const json& request, const std::string& headers = "") {
    const ClientResponse response = Post(kTextPath, request, headers);
    EXPECT_EQ(response.status, 200) << response.body;
    const json usage = json::parse(response.body)["usage"];
    const int cached = usage["prompt_tokens_details"]["cached_tokens"];
    EXPECT_EQ(usage["millrace"]["computed_tokens"], 100 - cached + 3);
    return cached;
  }
};

TEST_F(PrefixServerTest, UsageAndMetricsSayWhatWasCached) {
  StartServer();
  EXPECT_EQ(CachedTokens(LongText()), 0);
  EXPECT_EQ(CachedTokens(LongText()), 99);
  EXPECT_EQ(CachedTokens(LongText({{"cache_salt", "mine"}})), 0);
  EXPECT_EQ(CachedTokens(LongText({{"cache_salt", "mine"}})), 99);
  EXPECT_EQ(CachedTokens(LongText({{"millrace", {{"prefix_cache", "off"}}}})), 0);
  const ClientResponse metrics = TestClient(port()).Get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.body.find("\nmillrace:prefix_cache_queries 400\n"), std::string::npos);
  EXPECT_NE(metrics.body.find("\nmillrace:prefix_cache_hits 198\n"), std::string::npos);
  EXPECT_NE(metrics.body.find("\nmillrace:num_requests_running 0\n"), std::string::npos);
}

TEST_F(PrefixServerTest, InsightsSumTheLedgers) {
  StartServer();
  double saved_ms = 0, computing_ms = 0;
  for (int i = 0; i < 2; ++i) {
    const json ledger = json::parse(Post(kTextPath, LongText()).body)["usage"]["millrace"];
    saved_ms += ledger["cached_saved_ms"].get<double>();
    computing_ms += ledger["prefill_ms"].get<double>() + ledger["decode_ms"].get<double>();
  }
  const ClientResponse response = TestClient(port()).Get("/v1/insights");
  ASSERT_EQ(response.status, 200);
  const json insights = json::parse(response.body);
  EXPECT_EQ(insights["since_start"]["cached_tokens"], 99);
  EXPECT_EQ(insights["now"]["requests"], 2);
  EXPECT_NEAR(insights["now"]["optimisations"][0]["saved_ms"].get<double>(), saved_ms, 1e-6);
  EXPECT_NEAR(insights["now"]["computing_ms"].get<double>(), computing_ms, 1e-6);
}

TEST_F(PrefixServerTest, ChoicesOfOnePromptCountItOnce) {
  StartServer();
  const json usage = json::parse(Post(kTextPath, LongText({{"n", 4}})).body)["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 100);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(usage["millrace"]["computed_tokens"], 100 + 4 * 3);  // forks share the prompt
}

TEST_F(PrefixServerTest, KeysAreApart) {
  ServerConfig config;
  config.keys = ApiKeys::Plain({"alice", "bob"});
  StartServer(std::move(config));
  EXPECT_EQ(CachedTokens(LongText(), "Authorization: Bearer alice\r\n"), 0);
  EXPECT_EQ(CachedTokens(LongText(), "Authorization: Bearer bob\r\n"), 0);
  EXPECT_EQ(CachedTokens(LongText(), "Authorization: Bearer alice\r\n"), 99);
}

TEST_F(PrefixServerTest, PinsAreTaken) {
  StartServer();
  CachedTokens(LongText({{"millrace", {{"pin", true}}}}));
  EXPECT_EQ(engine_->stats().blocks_pinned, 3);
  CachedTokens(LongText({{"millrace", {{"pin", false}}}}));
  EXPECT_EQ(engine_->stats().blocks_pinned, 0);
}

}  // namespace
}  // namespace millrace
