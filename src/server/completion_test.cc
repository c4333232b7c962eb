// What belongs to /v1/completions alone: echo, with the prompt's logprobs, and suffix.
#include <cmath>

#include "server/server_test_util.h"

namespace millrace {
namespace {

json Completion(const json& change) {
  json body = {
      {"prompt", "hello hello"}, {"max_tokens", 5}, {"temperature", 0}, {"ignore_eos", true}};
  body.update(change);
  return body;
}

TEST_F(ServerTest, EchoPutsThePromptBeforeItsCompletion) {
  StartServer();
  const auto text = [&](const json& change) {
    const ClientResponse response = Post(kTextPath, Completion(change));
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body)["choices"][0]["text"].get<std::string>();
  };
  const std::string plain = text(json::object());
  EXPECT_EQ(text({{"echo", true}}), "hello hello" + plain);
  std::vector<int32_t> ids;
  for (const TokenId id : tokenizer_->Encode("hello hello", SpecialTokens::kAsText))
    ids.push_back(id.value);
  EXPECT_EQ(text({{"echo", true}, {"prompt", ids}}), "hello hello" + plain);
  // A stop string of the prompt stops nothing.
  EXPECT_EQ(text({{"echo", true}, {"stop", "hello"}}).rfind("hello hello", 0), 0u);
  // Each choice of each prompt has its own.
  const json two = json::parse(
      Post(kTextPath, Completion({{"prompt", {"a", "hello"}}, {"n", 2}, {"echo", true}}))
          .body)["choices"];
  ASSERT_EQ(two.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const std::string choice = two[i]["text"];
    EXPECT_EQ(choice.rfind(i < 2 ? "a" : "hello", 0), 0u) << choice;
  }
}

TEST_F(ServerTest, EchoStreamsThePromptFirst) {
  StartServer();
  const std::string whole =
      json::parse(Post(kTextPath, Completion({{"echo", true}})).body)["choices"][0]["text"];
  const auto events =
      EventsOf(Post(kTextPath, Completion({{"echo", true}, {"stream", true}})).body);
  std::string streamed;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    streamed += json::parse(events[i])["choices"][0]["text"].get<std::string>();
  }
  EXPECT_EQ(streamed, whole);
}

// The prompt's logprobs against the model's own rows, computed here from the definition.
TEST_F(ServerTest, EchoWithLogprobsScoresThePrompt) {
  StartServer();
  const json body = json::parse(
      Post(kTextPath, Completion({{"echo", true}, {"logprobs", 1}, {"max_tokens", 0}})).body);
  EXPECT_EQ(body["choices"][0]["text"], "hello hello");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
  const json& logprobs = body["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], (json{"hello", " hello"}));
  EXPECT_EQ(logprobs["text_offset"], (json{0, 5}));
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  const std::vector<TokenId> prompt = tokenizer_->Encode("hello hello", SpecialTokens::kAsText);
  const auto logits = FakeModel::LogitsOf(std::span(prompt).first(1), tokenizer_->vocab_size());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  const double expected = double{logits[static_cast<size_t>(prompt[1].value)]} - std::log(sum);
  EXPECT_NEAR(logprobs["token_logprobs"][1].get<double>(), expected, 1e-4);
  EXPECT_EQ(logprobs["top_logprobs"][1].size(), 1u);

  const json more =
      json::parse(Post(kTextPath, Completion({{"echo", true}, {"logprobs", 0}})).body);
  const json& tokens = more["choices"][0]["logprobs"];
  EXPECT_EQ(tokens["tokens"].size(), 7u);
  EXPECT_EQ(tokens["text_offset"][2], 11);
  EXPECT_EQ(tokens["token_logprobs"][1], logprobs["token_logprobs"][1]);
}

TEST_F(ServerTest, SuffixNeedsAModelThatFillsIn) {
  StartServer();
  const ClientResponse response = Post(kTextPath, Completion({{"suffix", "a"}}));
  EXPECT_EQ(response.status, 400);
  const json error = json::parse(response.body)["error"];
  EXPECT_EQ(error["param"], "suffix");
  EXPECT_EQ(error["code"], "unsupported_parameter");
}

class FillInTest : public ServerTest {
 protected:
  void SetUp() override {
    TestVocabulary vocabulary = BytePairVocabulary();
    vocabulary.Add("<|fim_prefix|>", 3);  // 268
    vocabulary.Add("<|fim_suffix|>", 3);
    vocabulary.Add("<|fim_middle|>", 3);
    tokenizer_.emplace(std::move(vocabulary.Load()).value());
  }
};

TEST_F(FillInTest, SuffixAsksToFillIn) {
  StartServer();
  const json filled =
      json::parse(Post(kTextPath, Completion({{"prompt", "hello"}, {"suffix", "aa"}})).body);
  // <prefix> hello <suffix> aa <middle>
  const json spelt =
      json::parse(Post(kTextPath, Completion({{"prompt", {268, 259, 269, 261, 270}}})).body);
  EXPECT_EQ(filled["choices"][0]["text"], spelt["choices"][0]["text"]);
  EXPECT_EQ(filled["usage"]["prompt_tokens"], 5);
  const json given =
      json::parse(Post(kTextPath, Completion({{"prompt", {259}}, {"suffix", "aa"}})).body);
  EXPECT_EQ(given["choices"][0]["text"], spelt["choices"][0]["text"]);
}

}  // namespace
}  // namespace millrace
