// Constrained answers over HTTP: what the model (which says anything) answers is what was asked
// for, streamed or not, with and without drafts; what cannot be compiled is a 400.
#include <algorithm>
#include <regex>

#include "server/server_test_util.h"

namespace millrace {
namespace {

class ConstrainedServerTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    speculation_ = Speculation::kLookup;
    habit_ = 3;
  }

  static json Asking(const json& fields, int max_tokens = 300) {
    json request = Chat(max_tokens);
    request["temperature"] = 0.9;
    request.erase("ignore_eos");
    request.update(fields);
    return request;
  }

  std::string Answer(const json& request) {
    const ClientResponse response = Post(kChatPath, request);
    EXPECT_EQ(response.status, 200) << response.body;
    if (response.status != 200) return {};
    const json choice = json::parse(response.body)["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "stop") << response.body;
    return choice["message"]["content"];
  }
  json Error(const json& fields) {
    const ClientResponse response = Post(kChatPath, Asking(fields));
    EXPECT_EQ(response.status, 400) << response.body;
    return json::parse(response.body)["error"];
  }
};

json SchemaFormat(const json& schema) {
  return {{"response_format",
           {{"type", "json_schema"},
            {"json_schema", {{"name", "answer"}, {"strict", true}, {"schema", schema}}}}}};
}

const json kPerson = {
    {"type", "object"},
    {"properties",
     {{"name", {{"type", "string"}, {"maxLength", 12}}},
      {"age", {{"type", "integer"}, {"minimum", 18}, {"maximum", 99}}},
      {"tags", {{"type", "array"}, {"maxItems", 3}, {"items", {{"enum", {"x", "yy"}}}}}}}},
    {"required", {"name", "age", "tags"}},
    {"additionalProperties", false}};

TEST_F(ConstrainedServerTest, JsonSchema) {
  StartServer();
  for (int seed = 0; seed < 20; ++seed) {
    json request = Asking(SchemaFormat(kPerson));
    request["seed"] = seed;
    const std::string text = Answer(request);
    const json answer = json::parse(text, nullptr, false);
    ASSERT_FALSE(answer.is_discarded()) << text;
    ASSERT_EQ(answer.size(), 3u) << text;
    EXPECT_TRUE(answer["name"].is_string());
    EXPECT_GE(answer["age"], 18);
    EXPECT_LE(answer["age"], 99);
    EXPECT_LE(answer["tags"].size(), 3u);
    // The same tokens without drafts, and streamed.
    request["millrace"] = {{"speculate", "off"}};
    EXPECT_EQ(Answer(request), text);
    request["stream"] = true;
    std::string streamed;
    for (const std::string& event : EventsOf(Post(kChatPath, request).body)) {
      if (event == "[DONE]") continue;
      const json delta = json::parse(event)["choices"][0]["delta"];
      streamed += delta.value("content", "");
    }
    EXPECT_EQ(streamed, text);
  }
}

TEST_F(ConstrainedServerTest, RegexGrammarAndChoice) {
  StartServer();
  const json date = {{"structured_outputs", {{"regex", "\\d{4}-\\d\\d-\\d\\d"}}}};
  EXPECT_TRUE(std::regex_match(Answer(Asking(date)), std::regex("[0-9]{4}-[0-9]{2}-[0-9]{2}")));
  const json grammar = {{"grammar", "root ::= (\"ab\" | \"c\"){3} \"!\""}};
  EXPECT_TRUE(std::regex_match(Answer(Asking(grammar)), std::regex("(ab|c){3}!")));
  const json choice = {{"structured_outputs", {{"choice", {"yes", "no (really)"}}}}};
  const std::string answer = Answer(Asking(choice));
  EXPECT_TRUE(answer == "yes" || answer == "no (really)") << answer;
  // Several answers, each with its own way.
  json several = Asking(date);
  several["n"] = 4;
  const json choices = json::parse(Post(kChatPath, several).body)["choices"];
  for (const json& one : choices) {
    EXPECT_TRUE(std::regex_match(one["message"]["content"].get<std::string>(),
                                 std::regex("[0-9]{4}-[0-9]{2}-[0-9]{2}")));
  }
  json completion = {{"prompt", "When?"}, {"max_tokens", 50}, {"guided_regex", "[0-9]{3}"}};
  EXPECT_TRUE(std::regex_match(
      json::parse(Post(kTextPath, completion).body)["choices"][0]["text"].get<std::string>(),
      std::regex("[0-9]{3}")));
}

// Without an end of its own, the answer ends where the grammar does, also where end tokens are to
// be ignored; greedy answers are the same with drafts and without.
TEST_F(ConstrainedServerTest, TheGrammarEndsTheAnswer) {
  StartServer();
  json request = Asking({{"grammar", "root ::= [a-f]{100}"}, {"temperature", 0}});
  request["ignore_eos"] = true;
  const std::string text = Answer(request);
  EXPECT_EQ(text.size(), 100u);
  request["millrace"] = {{"speculate", "off"}};
  EXPECT_EQ(Answer(request), text);
}

TEST_F(ConstrainedServerTest, WhatCannotBeCompiledIsRefused) {
  StartServer();
  json error = Error(SchemaFormat({{"type", "object"}, {"not", {{"type", "null"}}}}));
  EXPECT_EQ(error["param"], "response_format.json_schema.schema");
  EXPECT_EQ(error["code"], "invalid_json_schema");
  EXPECT_NE(error["message"].get<std::string>().find("'not'"), std::string::npos);
  error = Error({{"grammar", "root ::= root"}});
  EXPECT_EQ(error["param"], "grammar");
  EXPECT_EQ(error["code"], "invalid_grammar");
  EXPECT_EQ(Error({{"guided_regex", "("}})["param"], "guided_regex");
  // Nested by 60,000 parentheses, and over the limit of size.
  EXPECT_EQ(Error({{"grammar", "root ::= " + std::string(60'000, '(')}})["param"], "grammar");
  EXPECT_EQ(Error({{"grammar", "root ::= \"" + std::string(70'000, 'x') + "\""}})["param"],
            "grammar");
  EXPECT_EQ(Error({{"guided_regex", "((a{1000}){1000}){1000}"}})["param"], "guided_regex");
  EXPECT_EQ(Records().back().end, EndState::kRefused);
}

}  // namespace
}  // namespace millrace
