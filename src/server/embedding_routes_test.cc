// /v1/embeddings and /v1/rerank over sockets, with tiny models behind them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "embedding/embedding_test_util.h"
#include "server/server_test_util.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class EmbeddingServerTest : public ServerTest {
 protected:
  void StartWithModels(ServerConfig config = {}) {
    TinyEncoderSpec ranker;
    ranker.pooling = 4;
    ranker.classifier = true;
    embedding_model_ = LoadTestModel({});
    rerank_model_ = LoadTestModel(ranker);
    embedding_ = std::make_unique<EmbeddingService>(std::move(embedding_model_.model));
    rerank_ = std::make_unique<EmbeddingService>(std::move(rerank_model_.model));
    embedding_side_ = {"tiny-embed", embedding_.get()};
    rerank_side_ = {"tiny-rank", rerank_.get()};
    StartServer(std::move(config));
  }
  json Ask(const std::string& path, const json& body, int status = 200) {
    const ClientResponse response = Post(path, body);
    EXPECT_EQ(response.status, status) << response.body;
    return json::parse(response.body);
  }

  TestModel embedding_model_, rerank_model_;
  std::unique_ptr<EmbeddingService> embedding_, rerank_;
};

TEST_F(EmbeddingServerTest, EmbedsTextsAndTokens) {
  StartWithModels();
  const TestModel alone = LoadTestModel({}, 1);
  const json body =
      Ask("/v1/embeddings", {{"model", "tiny-embed"}, {"input", {"one text", "two"}}});
  EXPECT_EQ(body["usage"]["prompt_tokens"], 9 + 5);  // [CLS], a token per letter, [SEP]
  ASSERT_EQ(body["data"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const auto expected =
        ComputeOne(*alone.model, alone.model->Encode(i == 0 ? "one text" : "two"));
    EXPECT_EQ(body["data"][i]["embedding"].get<std::vector<float>>(), expected);
  }
  const json tokens = Ask("/v1/embeddings", {{"input", {2, 4, 3}}});
  EXPECT_EQ(tokens["data"][0]["embedding"].get<std::vector<float>>(),
            ComputeOne(*alone.model, alone.model->Encode("a")));
}

TEST_F(EmbeddingServerTest, DimensionsShortenTheVector) {
  StartWithModels();
  const auto whole = Ask("/v1/embeddings", {{"input", "a"}})["data"][0]["embedding"];
  const auto part =
      Ask("/v1/embeddings", {{"input", "a"}, {"dimensions", 5}})["data"][0]["embedding"];
  ASSERT_EQ(part.size(), 5u);
  double norm = 0;
  for (size_t i = 0; i < 5; ++i) norm += std::pow(whole[i].get<double>(), 2);
  for (size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(part[i].get<double>(), whole[i].get<double>() / std::sqrt(norm), 1e-6);
  const json error = Ask("/v1/embeddings", {{"input", "a"}, {"dimensions", 65}}, 400);
  EXPECT_EQ(error["error"]["param"], "dimensions");
  EXPECT_THAT(error["error"]["message"].get<std::string>(), HasSubstr("have 64"));
}

TEST_F(EmbeddingServerTest, LongInputsAreRefusedWithTheLimit) {
  StartWithModels();
  const json error = Ask(
      "/v1/embeddings", {{"input", {"a", std::string(90, 'b') + " " + std::string(90, 'c')}}}, 400);
  EXPECT_EQ(error["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(error["error"]["param"], "input");
  EXPECT_EQ(error["error"]["message"],
            "input[1] has 182 tokens, but the model reads at most 128: make it shorter.");
  const json rank = Ask(
      "/v1/rerank", {{"query", std::string(70, 'q')}, {"documents", {std::string(70, 'd')}}}, 400);
  EXPECT_EQ(rank["error"]["param"], "documents");
  EXPECT_THAT(rank["error"]["message"].get<std::string>(), HasSubstr("at most 128"));
  EXPECT_EQ(Ask("/v1/embeddings", {{"input", {58}}}, 400)["error"]["param"], "input");
}

TEST_F(EmbeddingServerTest, RanksDocuments) {
  StartWithModels();
  TinyEncoderSpec ranker;
  ranker.pooling = 4;
  ranker.classifier = true;
  const TestModel alone = LoadTestModel(ranker, 1);
  const std::vector<std::string> documents = {"a mill", "water", "some other text, of more words."};
  const json body = Ask("/v1/rerank", {{"model", "tiny-rank"},
                                       {"query", "what is a mill"},
                                       {"documents", documents},
                                       {"return_documents", true}});
  ASSERT_EQ(body["results"].size(), 3u);
  double last = 2;
  for (const json& result : body["results"]) {
    const size_t i = result["index"];
    const float raw =
        ComputeOne(*alone.model, alone.model->EncodePair("what is a mill", documents[i]))[0];
    const double score = result["relevance_score"];
    EXPECT_NEAR(score, 1 / (1 + std::exp(-double{raw})), 1e-9);
    EXPECT_LE(score, last);
    EXPECT_EQ(result["document"]["text"], documents[i]);
    last = score;
  }
  EXPECT_EQ(
      Ask("/v1/rerank", {{"query", "q"}, {"documents", documents}, {"top_n", 1}})["results"].size(),
      1u);
}

// "a b c" has five tokens with [CLS] and [SEP]; a pair of it with "a" seven. What a key may use up
// in a minute is what it may use of all models together.
TEST_F(EmbeddingServerTest, AKeysLimitsAndMetricsCountTextsAsPrompts) {
  ServerConfig config;
  ApiKey key = MakeApiKey("secret"), other = MakeApiKey("other");
  key.limits.tokens_per_minute = 20;
  other.limits.requests_per_minute = 1;
  config.keys = ApiKeys({key, other});
  StartWithModels(std::move(config));
  const auto ask = [&](const std::string& path, const json& body, const std::string& secret) {
    return Post(path, body, "Authorization: Bearer " + secret + "\r\n");
  };
  const json embed = {{"input", {"a b c", "a b c"}}},
             rank = {{"query", "a b c"}, {"documents", {"a"}}};
  EXPECT_EQ(ask("/v1/embeddings", embed, "secret").status, 200);  // 10 tokens
  EXPECT_EQ(ask("/v1/rerank", rank, "secret").status, 200);       // 17
  const ClientResponse refused = ask("/v1/embeddings", embed, "secret");
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_EQ(json::parse(refused.body)["error"]["code"], "rate_limit_exceeded");
  EXPECT_THAT(refused.body, HasSubstr("20 tokens per minute"));
  EXPECT_EQ(ask("/v1/rerank", rank, "other").status, 200);
  EXPECT_THAT(ask("/v1/rerank", rank, "other").body, HasSubstr("1 requests per minute"));
  EXPECT_EQ(ask("/v1/embeddings", embed, "none").status, 401);
  const std::string metrics =
      TestClient(port()).Get("/metrics", "Authorization: Bearer secret\r\n").body;
  EXPECT_THAT(metrics, HasSubstr("\nmillrace:embedding_texts_total 2\n"));
  EXPECT_THAT(metrics, HasSubstr("\nmillrace:embedding_tokens_total 10\n"));
  EXPECT_THAT(metrics, HasSubstr("\nmillrace:rerank_documents_total 2\n"));
  EXPECT_THAT(metrics, HasSubstr("\nmillrace:rerank_tokens_total 14\n"));
  EXPECT_THAT(metrics, HasSubstr("\nmillrace:rerank_request_seconds_count 2\n"));
}

TEST_F(EmbeddingServerTest, NamesItsModels) {
  StartWithModels();
  const json list = json::parse(TestClient(port()).Get("/v1/models").body);
  std::vector<std::string> ids;
  for (const json& model : list["data"]) ids.push_back(model["id"]);
  EXPECT_THAT(ids, testing::ElementsAre("org/fake", "gpt-4o-mini", "tiny-embed", "tiny-rank"));
  EXPECT_EQ(TestClient(port()).Get("/v1/models/tiny-rank").status, 200);
  EXPECT_EQ(TestClient(port()).Get("/v1/models/other").status, 404);
  const json error = Ask("/v1/embeddings", {{"model", "org/fake"}, {"input", "a"}}, 404);
  EXPECT_EQ(error["error"]["code"], "model_not_found");
  EXPECT_THAT(error["error"]["message"].get<std::string>(), HasSubstr("'tiny-embed'"));
}

TEST_F(EmbeddingServerTest, WithoutAModelItSaysWhichFlagIsMissing) {
  StartServer();
  EXPECT_THAT(Ask("/v1/embeddings", {{"input", "a"}}, 404)["error"]["message"].get<std::string>(),
              HasSubstr("--embedding-model"));
  EXPECT_THAT(Ask("/v1/rerank", {{"query", "a"}, {"documents", {"b"}}}, 404)["error"]["message"]
                  .get<std::string>(),
              HasSubstr("--rerank-model"));
}

TEST_F(EmbeddingServerTest, EveryRequestIsLoggedOnce) {
  StartWithModels();
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([this] {
      for (int i = 0; i < 5; ++i) Ask("/v1/embeddings", {{"input", {"a text", "another"}}});
    });
  }
  for (std::thread& t : clients) t.join();
  ASSERT_TRUE(server_->Drain(milliseconds(2000)));
  const auto records = Records();
  EXPECT_EQ(records.size(), 40u);
  for (const RequestRecord& r : records) EXPECT_EQ(r.end, EndState::kCompleted);
}

// Where there is a reranker, it says which passages a chat keeps.
TEST_F(EmbeddingServerTest, ChatsKeepThePassagesThatTheRerankerPrefers) {
  StartWithModels();
  const std::vector<std::string> texts = {"a mill", "a water wheel", "the race", "grain and stone",
                                          "a river in spring"};
  const json ranked = Ask("/v1/rerank", {{"query", "what is it"}, {"documents", texts}});
  const size_t best = ranked["results"][0]["index"];
  json request = Chat(2);
  request["messages"] = json::array({Message("user", "what is it")});
  for (size_t i = 0; i < texts.size(); ++i)
    request["documents"].push_back({{"id", "d" + std::to_string(i)}, {"text", texts[i]}});
  request["millrace"] = {{"reduce", "top:1"}};
  const json kept = Ask(kChatPath, request)["usage"]["millrace"]["reduction"]["kept"];
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0]["id"], "d" + std::to_string(best));
}

}  // namespace
}  // namespace millrace
