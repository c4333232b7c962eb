// What a request for text gets: whole or streamed, stop strings, choices, logprobs, prompts.
#include "server/server_test_util.h"

namespace millrace {
namespace {

TEST_F(ServerTest, WholeChatCompletion) {
  StartServer();
  const ClientResponse response = Post(kChatPath, Chat());
  ASSERT_EQ(response.status, 200) << response.body;
  const json body = json::parse(response.body);
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["model"], "org/fake");
  EXPECT_EQ(body["choices"].size(), 1u);
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_FALSE(body["choices"][0]["message"]["content"].get<std::string>().empty());
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3);  // <|im_start|> hello <|im_end|>
  EXPECT_EQ(body["usage"]["completion_tokens"], 12);
  EXPECT_EQ(body["usage"]["total_tokens"], 15);
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(body["usage"]["millrace"]["computed_tokens"], 14);
  EXPECT_TRUE(response.headers.count("x-millrace-savings"));
  ASSERT_TRUE(Eventually([&] { return Records().size() == 1; }));
  const RequestRecord record = Records()[0];
  EXPECT_EQ(record.id, response.headers.at("x-request-id"));
  EXPECT_EQ(record.route, "POST /v1/chat/completions");
  EXPECT_EQ(record.status, 200);
  ASSERT_TRUE(record.generation);
  EXPECT_EQ(record.generation->usage.completion_tokens, 12);
  // The same seed gives the same text; another seed another one.
  EXPECT_EQ(json::parse(Post(kChatPath, Chat()).body)["choices"], body["choices"]);
  json other = Chat();
  other["seed"] = 6;
  EXPECT_NE(json::parse(Post(kChatPath, other).body)["choices"], body["choices"]);
}

TEST_F(ServerTest, StreamIsTheSameTextInPieces) {
  StartServer();
  json request = Chat(40);
  const json whole = json::parse(Post(kChatPath, request).body);
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const ClientResponse response = Post(kChatPath, request);
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream");
  const std::vector<std::string> events = EventsOf(response.body);
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text;
  for (size_t i = 0; i + 2 < events.size(); ++i) {
    const json chunk = json::parse(events[i]);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_TRUE(chunk["usage"].is_null());
    const json& choice = chunk["choices"].at(0);
    if (i == 0) {
      EXPECT_EQ(choice["delta"]["role"], "assistant");
    }
    if (choice["delta"].contains("content")) text += choice["delta"]["content"].get<std::string>();
    EXPECT_EQ(choice["finish_reason"].is_null(), i + 3 < events.size());
  }
  EXPECT_EQ(text, whole["choices"][0]["message"]["content"]);
  const json usage = json::parse(events[events.size() - 2]);
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 40);
}

TEST_F(ServerTest, StopStringsEndTheTextAndTheRequest) {
  StartServer();
  json request = Chat(200);
  request["temperature"] = 0;
  const json whole = json::parse(Post(kChatPath, request).body);
  const std::string text = whole["choices"][0]["message"]["content"];
  // The first printable character of the text that stands behind its beginning.
  size_t at = text.size() / 2;
  while (at < text.size() && (text[at] < '!' || text[at] > '~')) ++at;
  ASSERT_LT(at, text.size());
  const std::string stop(1, text[at]);
  request["stop"] = json::array({stop});
  const json cut = json::parse(Post(kChatPath, request).body);
  EXPECT_EQ(cut["choices"][0]["message"]["content"], text.substr(0, text.find(stop)));
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "stop");
  EXPECT_LT(cut["usage"]["completion_tokens"], 200);
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
}

TEST_F(ServerTest, ChoicesHaveDerivedSeeds) {
  StartServer();
  json request = Chat();
  request["n"] = 3;
  const json body = json::parse(Post(kChatPath, request).body);
  ASSERT_EQ(body["choices"].size(), 3u);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(body["usage"]["completion_tokens"], 36);
  for (int i = 0; i < 3; ++i) {
    json alone = Chat();
    alone["seed"] = 5 + i;
    EXPECT_EQ(json::parse(Post(kChatPath, alone).body)["choices"][0]["message"],
              body["choices"][static_cast<size_t>(i)]["message"]);
  }
}

TEST_F(ServerTest, Logprobs) {
  StartServer();
  json request = Chat(5);
  request["logprobs"] = true;
  request["top_logprobs"] = 2;
  const json body = json::parse(Post(kChatPath, request).body);
  const json& content = body["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 5u);
  for (const json& token : content) {
    EXPECT_LE(token["logprob"], 0.0);
    EXPECT_FALSE(token["bytes"].empty());
    ASSERT_EQ(token["top_logprobs"].size(), 2u);
    EXPECT_GE(token["top_logprobs"][0]["logprob"], token["top_logprobs"][1]["logprob"]);
  }
  const json text = {{"prompt", "hello"}, {"max_tokens", 4}, {"logprobs", 1}, {"ignore_eos", true}};
  const json completion = json::parse(Post(kTextPath, text).body);
  EXPECT_EQ(completion["choices"][0]["logprobs"]["tokens"].size(), 4u);
  EXPECT_EQ(completion["choices"][0]["logprobs"]["text_offset"][0], 0);
}

TEST_F(ServerTest, CompletionsTakeEveryKindOfPrompt) {
  StartServer();
  const json common = {{"max_tokens", 6}, {"temperature", 0}, {"ignore_eos", true}};
  const auto post = [&](const json& prompt) {
    json request = common;
    request["prompt"] = prompt;
    const ClientResponse response = Post(kTextPath, request);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  };
  const json one = post("hello");
  EXPECT_EQ(one["object"], "text_completion");
  const int32_t id = tokenizer_->Encode("hello", SpecialTokens::kAsText)[0].value;
  EXPECT_EQ(post(json::array({id}))["choices"][0]["text"], one["choices"][0]["text"]);
  const json two = post(json::array({"hello", "aaaa"}));
  ASSERT_EQ(two["choices"].size(), 2u);
  EXPECT_EQ(two["choices"][0]["text"], one["choices"][0]["text"]);
  const json arrays = post(json::array({json::array({id}), json::array({1, 2})}));
  EXPECT_EQ(arrays["choices"][0]["text"], one["choices"][0]["text"]);
  EXPECT_EQ(arrays["usage"]["prompt_tokens"], 3);
}

}  // namespace
}  // namespace millrace
