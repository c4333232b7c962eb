// The real binary with an embedding model and a reranker beside the embedded demo model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "http/test_client.h"
#include "tests/end_to_end/server_process.h"
#include "tests/scratch_folder.h"
#include "tests/tiny_encoder.h"

namespace millrace {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class EmbeddingBinaryTest : public testing::Test {
 protected:
  void SetUp() override {
    TinyEncoderSpec ranker;
    ranker.pooling = 4;
    ranker.classifier = true;
    embedding_ = folder_.Write("tiny-embed.gguf", MakeTinyEncoder({}));
    rerank_ = folder_.Write("tiny-rank.gguf", MakeTinyEncoder(ranker));
  }

  static json Ask(const ServerProcess& server, const std::string& path, const json& body) {
    const ClientResponse response = TestClient(server.port()).Post(path, body.dump());
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }

  ScratchFolder folder_;
  std::string embedding_, rerank_;
};

TEST_F(EmbeddingBinaryTest, ServesThemBesideTheChatModel) {
  ServerProcess server(MILLRACE_BINARY,
                       {"--embedding-model", embedding_, "--rerank-model", rerank_});
  ASSERT_NE(server.port(), 0) << testing::PrintToString(server.Log());
  const json vectors = Ask(server, "/v1/embeddings", {{"input", {"a mill", "water"}}});
  EXPECT_EQ(vectors["model"], "tiny-embed");
  for (const json& item : vectors["data"]) {
    double norm = 0;
    for (const json& x : item["embedding"]) norm += std::pow(x.get<double>(), 2);
    EXPECT_NEAR(norm, 1, 1e-5);
  }
  const json ranked =
      Ask(server, "/v1/rerank", {{"query", "a mill"}, {"documents", {"water", "a wheel"}}});
  EXPECT_EQ(ranked["model"], "tiny-rank");
  EXPECT_EQ(ranked["results"].size(), 2u);
  const json chat =
      Ask(server, "/v1/chat/completions",
          {{"messages", {{{"role", "user"}, {"content", "hello"}}}}, {"max_tokens", 2}});
  EXPECT_EQ(chat["object"], "chat.completion");
  server.Terminate();
  EXPECT_EQ(server.WaitForExit(), 0);
}

TEST_F(EmbeddingBinaryTest, SaysWhichFlagAModelBelongsTo) {
  const auto log_of = [](const std::vector<std::string>& flags) {
    ServerProcess server(MILLRACE_BINARY, flags, ServerProcess::Until::kStarted);
    EXPECT_NE(server.WaitForExit(), 0);
    return testing::PrintToString(server.Log());
  };
  EXPECT_THAT(log_of({"--embedding-model", rerank_}), HasSubstr("name it with --rerank-model"));
  EXPECT_THAT(log_of({"--rerank-model", embedding_}), HasSubstr("name it with --embedding-model"));
  EXPECT_THAT(log_of({"--rerank-model", embedding_ + ".absent"}), HasSubstr("absent"));
}

}  // namespace
}  // namespace millrace
