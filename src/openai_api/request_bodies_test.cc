// Messages, tools, prompts and token arrays; and bodies that are made to hurt.
#include <gtest/gtest.h>

#include "openai_api/parsing_test_util.h"

namespace millrace {
namespace {

TEST(RequestBodies, MessagesReachTheTemplate) {
  const json messages = {
      {{"role", "developer"}, {"content", "be kind"}},
      {{"role", "user"},
       {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}},
       {"name", "eve"}},
      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", json::array()}},
      {{"role", "tool"}, {"content", ""}, {"tool_call_id", "1"}}};
  const json chat = json::parse(Chat({{"messages", messages}}).template_json);
  EXPECT_EQ(chat["messages"][0], (json{{"role", "system"}, {"content", "be kind"}}));
  EXPECT_EQ(chat["messages"][1], (json{{"role", "user"}, {"content", "a\nb"}, {"name", "eve"}}));
  EXPECT_EQ(chat["messages"][2], messages[2]);
  EXPECT_EQ(chat["messages"][3], messages[3]);
  EXPECT_EQ(chat["add_generation_prompt"], true);
}

TEST(RequestBodies, WrongMessagesAreNamed) {
  EXPECT_EQ(RawError("{}").code, "missing_required_parameter");
  for (const json& wrong : {json("x"), json::array(), json::object(), json(1)}) {
    EXPECT_EQ(ChatError({{"messages", wrong}}).param, "messages") << wrong;
  }
  const auto second = [](const json& message) {
    return ChatError({{"messages", json::array({kUser, message})}}).param;
  };
  EXPECT_EQ(second("x"), "messages[1]");
  EXPECT_EQ(second(json::object()), "messages[1]");
  EXPECT_EQ(second({{"role", 1}, {"content", "x"}}), "messages[1]");
  EXPECT_EQ(second({{"role", "robot"}, {"content", "x"}}), "messages[1].role");
  EXPECT_EQ(second({{"role", "user"}}), "messages[1].content");
  EXPECT_EQ(second({{"role", "user"}, {"content", nullptr}}), "messages[1].content");
  for (const json& content :
       {json(1), json(true), json::object(), json::array({"x"}), json::array({1}),
        json::array({json{{"type", "image_url"}, {"image_url", "x"}}}),
        json::array({json{{"type", "text"}}}),
        json::array({json{{"type", "text"}, {"text", 1}}})}) {
    EXPECT_EQ(second({{"role", "user"}, {"content", content}}), "messages[1].content") << content;
  }
  EXPECT_EQ(second({{"role", "assistant"}, {"tool_calls", "x"}}), "messages[1].tool_calls");
}

TEST(RequestBodies, ToolsReachTheTemplateUnlessNoneAreWanted) {
  const json tools = json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  EXPECT_EQ(json::parse(Chat({{"tools", tools}}).template_json)["tools"], tools);
  for (const json& change : {json{{"tools", tools}, {"tool_choice", "none"}},
                             json{{"tools", json::array()}}, json::object()}) {
    EXPECT_FALSE(json::parse(Chat(change).template_json).contains("tools")) << change;
  }
  for (const json& wrong : {json("x"), json::object()}) {
    EXPECT_EQ(ChatError({{"tools", wrong}}).param, "tools") << wrong;
  }
  for (const json& wrong : {json::array({"f"}), json::array({nullptr})}) {
    EXPECT_EQ(ChatError({{"tools", wrong}}).param, "tools[0]") << wrong;
  }
  const json kwargs = {{"enable_thinking", false}};
  EXPECT_EQ(
      json::parse(Chat({{"chat_template_kwargs", kwargs}}).template_json)["chat_template_kwargs"],
      kwargs);
  EXPECT_EQ(ChatError({{"chat_template_kwargs", 1}}).param, "chat_template_kwargs");
}

TEST(RequestBodies, Prompts) {
  using Tokens = std::vector<TokenId>;
  EXPECT_EQ(std::get<std::string>(Completion({{"prompt", "p"}}).prompts[0]), "p");
  EXPECT_EQ(Completion({{"prompt", {"p", "q"}}}).prompts.size(), 2u);
  EXPECT_EQ(std::get<Tokens>(Completion({{"prompt", {1, 2}}}).prompts[0]),
            (Tokens{TokenId(1), TokenId(2)}));
  const json mixed = json::array({json::array({1, 2}), "text"});
  EXPECT_EQ(Completion({{"prompt", mixed}}).prompts.size(), 2u);
  for (const json& wrong :
       {json(1), json(true), json::object(), json::array(), json::array({1, "x"}),
        json::array({-1}), json::array({1.5}), json::array({int64_t{1} << 31}),
        json::array({UINT64_MAX}), json::array({json::array()}), json::array({nullptr}),
        json::array({json::array({json::array({1})})})}) {
    EXPECT_EQ(CompletionError({{"prompt", wrong}}).param, "prompt") << wrong;
  }
  EXPECT_EQ(CompletionError({{"prompt", nullptr}}).code, "missing_required_parameter");
  const std::vector<std::string> many(16, "p");
  EXPECT_EQ(Completion({{"prompt", many}, {"n", 8}}).prompts.size(), 16u);
  const std::vector<std::string> more(17, "p");
  EXPECT_EQ(CompletionError({{"prompt", more}, {"n", 8}}).param, "prompt");
}

TEST(RequestBodies, TokenizeAndDetokenize) {
  const auto text = ParseTokenizeRequest(
      R"({"content": "x", "add_special": false, "parse_special": true, "other": 1})");
  ASSERT_TRUE(std::holds_alternative<TokenizeRequest>(text));
  EXPECT_EQ(std::get<TokenizeRequest>(text).text, "x");
  EXPECT_FALSE(std::get<TokenizeRequest>(text).add_special);
  EXPECT_TRUE(std::get<TokenizeRequest>(text).parse_special);
  EXPECT_EQ(std::get<TokenizeRequest>(ParseTokenizeRequest(R"({"prompt": "y"})")).text, "y");
  for (const char* wrong : {"{}", R"({"content": 1})", R"({"content": "x", "add_special": 1})",
                            R"({"content": "x", "parse_special": "no"})", "[]", "\"x\""}) {
    ErrorOf(ParseTokenizeRequest(wrong), wrong);
  }
  const auto ids = ParseDetokenizeRequest(R"({"tokens": [0, 2147483647]})");
  ASSERT_TRUE(std::holds_alternative<std::vector<TokenId>>(ids));
  EXPECT_EQ(std::get<std::vector<TokenId>>(ids).back(), TokenId(2147483647));
  for (const char* wrong : {"{}", R"({"tokens": 1})", R"({"tokens": [-1]})", R"({"tokens": [1.0]})",
                            R"({"tokens": ["1"]})", R"({"tokens": [2147483648]})", "null"}) {
    ErrorOf(ParseDetokenizeRequest(wrong), wrong);
  }
}

TEST(RequestBodies, UnknownFieldsAreIgnoredOrRefused) {
  EXPECT_TRUE(std::holds_alternative<ChatRequest>(ParseChat({{"frobnicate", 1}})));
  const ApiError error = ChatError({{"frobnicate", 1}}, UnknownFields::kRefuse);
  EXPECT_EQ(error.param, "frobnicate");
  EXPECT_EQ(error.code, "unknown_parameter");
  // A long name is not thrown back whole.
  EXPECT_LT(ChatError({{std::string(1 << 20, 'x'), 1}}, UnknownFields::kRefuse).param.size(), 200u);
}

TEST(RequestBodies, OfDuplicateKeysTheLastCounts) {
  const auto parsed = ParseChatRequest(
      R"({"temperature": 2, "messages": [{"role": "user", "content": "a", "content": "b"}],
          "temperature": 0.5})",
      UnknownFields::kRefuse);
  ASSERT_TRUE(std::holds_alternative<ChatRequest>(parsed));
  const auto& chat = std::get<ChatRequest>(parsed);
  EXPECT_EQ(chat.options.sampling.temperature, 0.5f);
  EXPECT_EQ(json::parse(chat.template_json)["messages"][0]["content"], "b");
}

TEST(RequestBodies, WhatIsNotJsonIsRefused) {
  for (const char* body : {"",
                           " ",
                           "nul",
                           "{",
                           "{]",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{'a':1}",
                           "{\"a\":NaN}",
                           "{\"a\":01}",
                           "{\"n\":1e999}",
                           "{} {}",
                           "[]",
                           "1",
                           "\"x\"",
                           "null",
                           "{\"a\":\"\x01\"}",
                           "{\"model\":\"\xff\"}",
                           "{\"model\":\"\xc3\"}",
                           "{\"model\":\"\xed\xa0\x80\"}",
                           "{\"model\":\"\xc0\x80\"}",
                           "{\"model\":\"\\ud800\"}",
                           "{\"\xff\":1}"}) {
    RawError(body);
  }
  RawError(std::string_view("{\"a\":\0}", 7));
  for (const std::string& behind :
       {std::string("\0", 1), std::string("\0 {", 3)}) {  // an end that is none
    const std::string body = R"({"messages": [{"role": "user", "content": "a"}]})" + behind;
    EXPECT_THAT(RawError(body).message, HasSubstr("byte 49 of it is a NUL"));
  }
}

TEST(RequestBodies, DeepNestingIsRefusedBeforeItIsRead) {
  const auto nested = [](int levels) {  // within the body's own object
    return "{\"messages\":[{\"role\":\"user\",\"content\":\"[[[[\"}],\"x\":" +
           std::string(static_cast<size_t>(levels), '[') +
           std::string(static_cast<size_t>(levels), ']') + "}";
  };
  EXPECT_TRUE(std::holds_alternative<ChatRequest>(
      ParseChatRequest(nested(kMaxJsonDepth - 1), UnknownFields::kIgnore)));
  EXPECT_NE(RawError(nested(kMaxJsonDepth)).message.find("nested deeper"), std::string::npos);
  RawError(nested(1 << 20));
  RawError(std::string(1 << 20, '{'));
  RawError(std::string(1 << 20, ']'));
  // Brackets in strings are text.
  Chat({{"user", std::string(1000, '[') + "\\\""}});
}

TEST(RequestBodies, LargeTextsAreTakenAndLargeObjectsAreNot) {
  const std::string megabyte(1 << 20, 'x');
  const json content = {{{"role", "user"}, {"content", megabyte}}};
  EXPECT_GT(Chat({{"messages", content}, {"user", megabyte}}).template_json.size(),
            megabyte.size());
  EXPECT_EQ(ChatError({{"messages", {{{"role", megabyte}, {"content", "x"}}}}}).param,
            "messages[0].role");
  EXPECT_EQ(ChatError({{"logit_bias", {{megabyte, 1}}}}).param, "logit_bias");
  EXPECT_EQ(ChatError({{"stop", megabyte}}).param, "stop");
  EXPECT_EQ(ChatError({{"temperature", megabyte}}).param, "temperature");
  const auto object_of = [](size_t members) {
    json object;
    for (size_t i = 0; i < members; ++i) object[std::to_string(i)] = 1;
    return object;
  };
  Chat({{"logit_bias", object_of(kMaxJsonMembers)}});
  EXPECT_NE(ChatError({{"logit_bias", object_of(kMaxJsonMembers + 1)}}).message.find("fields"),
            std::string::npos);
}

}  // namespace
}  // namespace millrace
