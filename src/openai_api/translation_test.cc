// /v1/responses and /v1/messages -> the chat that they mean.
#include <gtest/gtest.h>

#include "openai_api/parsing_test_util.h"
#include "openai_api/translated_chat.h"

namespace millrace {
namespace {

ChatRequest FromResponses(const json& body) {
  auto parsed = ParseResponsesRequest(body.dump(), UnknownFields::kRefuse);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << body << ": " << error->message;
    return {};
  }
  return std::move(std::get<TranslatedChat>(parsed).chat);
}
ChatRequest FromMessages(json body) {
  body["max_tokens"] = 5;
  auto parsed = ParseMessagesRequest(body.dump(), UnknownFields::kRefuse);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << body << ": " << error->message;
    return {};
  }
  return std::move(std::get<TranslatedChat>(parsed).chat);
}
std::string ResponsesParam(json change, UnknownFields unknown = UnknownFields::kIgnore) {
  json body = {{"input", "hello"}};
  body.update(change);
  return ErrorOf(ParseResponsesRequest(body.dump(), unknown), change.dump()).param;
}
std::string MessagesParam(json change, UnknownFields unknown = UnknownFields::kIgnore) {
  json body = {{"max_tokens", 5}, {"messages", json::array({kUser})}};
  body.update(change);
  return ErrorOf(ParseMessagesRequest(body.dump(), unknown), change.dump()).param;
}
json Template(const ChatRequest& chat) { return json::parse(chat.template_json); }

TEST(Translation, ResponsesInputBecomesMessages) {
  const ChatRequest chat = FromResponses(
      {{"instructions", "be kind"},
       {"input",
        {{{"role", "user"}, {"content", "a"}},
         {{"type", "reasoning"}, {"summary", json::array()}},
         {{"type", "message"},
          {"role", "assistant"},
          {"content",
           {{{"type", "output_text"}, {"text", "b"}}, {{"type", "output_text"}, {"text", "c"}}}}},
         {{"type", "function_call"}, {"call_id", "1"}, {"name", "f"}, {"arguments", "{}"}},
         {{"type", "function_call_output"}, {"call_id", "1"}, {"output", "d"}},
         {{"role", "developer"}, {"content", {{{"type", "input_text"}, {"text", "e"}}}}}}},
       {"max_output_tokens", 9},
       {"store", true},
       {"metadata", json::object()},
       {"tools", {{{"type", "function"}, {"name", "f"}, {"parameters", json::object()}}}},
       {"seed", 3}});
  EXPECT_EQ(chat.options.max_tokens, 9);
  EXPECT_EQ(chat.options.sampling.seed, 3u);
  const json t = Template(chat);
  ASSERT_EQ(t["messages"].size(), 5u) << t;
  EXPECT_EQ(t["messages"][0], (json{{"role", "system"}, {"content", "be kind"}}));
  EXPECT_EQ(t["messages"][1]["content"], "a");
  EXPECT_EQ(t["messages"][2]["content"], "bc");
  EXPECT_EQ(t["messages"][2]["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(t["messages"][3],
            (json{{"role", "tool"}, {"content", "d"}, {"tool_call_id", "1"}, {"name", "f"}}));
  EXPECT_EQ(t["messages"][4], (json{{"role", "system"}, {"content", "e"}}));
  EXPECT_EQ(t["tools"][0]["function"]["name"], "f");
}

TEST(Translation, WhatResponsesCannotDoIsNamed) {
  EXPECT_EQ(ResponsesParam({{"input", nullptr}}), "input");
  EXPECT_EQ(ResponsesParam({{"input", json::array()}}), "input");
  EXPECT_EQ(ResponsesParam({{"input", {1}}}), "input[0]");
  EXPECT_EQ(ResponsesParam({{"input", {{{"type", "computer_call"}}}}}), "input[0].type");
  EXPECT_EQ(ResponsesParam({{"input", {{{"role", "robot"}, {"content", "x"}}}}}), "input[0].role");
  EXPECT_EQ(ResponsesParam({{"input", {{{"role", "user"}}}}}), "input[0].content");
  EXPECT_EQ(ResponsesParam({{"input", {{{"type", "function_call"}, {"name", "f"}}}}}),
            "input[0].call_id");
  for (const char* name : {"previous_response_id", "conversation", "prompt"}) {
    EXPECT_EQ(ResponsesParam({{name, "x"}}), name);
  }
  EXPECT_EQ(ResponsesParam({{"background", true}}), "background");
  EXPECT_EQ(ResponsesParam({{"truncation", "auto"}}), "truncation");
  EXPECT_EQ(ResponsesParam({{"n", 2}}), "n");
  EXPECT_EQ(ResponsesParam({{"tools", {{{"type", "web_search"}}}}}), "tools[0]");
  EXPECT_EQ(ResponsesParam({{"text", "x"}}), "text");
  EXPECT_EQ(ResponsesParam({{"include", "x"}}), "include");
  EXPECT_EQ(ResponsesParam({{"temperature", 9}}), "temperature");
  EXPECT_EQ(ResponsesParam({{"nonsense", 9}}, UnknownFields::kRefuse), "nonsense");
}

TEST(Translation, ResponsesLogprobs) {
  const json include = json::array({"message.output_text.logprobs"});
  EXPECT_EQ(FromResponses({{"input", "x"}}).options.sampling.top_logprobs, -1);
  EXPECT_EQ(FromResponses({{"input", "x"}, {"include", include}}).options.sampling.top_logprobs, 0);
  EXPECT_EQ(FromResponses({{"input", "x"}, {"include", include}, {"top_logprobs", 4}})
                .options.sampling.top_logprobs,
            4);
}

TEST(Translation, MessagesBecomeAChat) {
  const ChatRequest chat = FromMessages(
      {{"system",
        {{{"type", "text"}, {"text", "Be kind."}}, {{"type", "text"}, {"text", "Be short."}}}},
       {"messages",
        {{{"role", "user"}, {"content", "a"}},
         {{"role", "assistant"},
          {"content",
           {{{"type", "thinking"}, {"thinking", "x"}},
            {{"type", "text"}, {"text", "b [1]"}},  // cut by a citation: one text
            {{"type", "text"}, {"text", " c"}},
            {{"type", "tool_use"}, {"id", "1"}, {"name", "f"}, {"input", {{"x", 1}}}}}}},
         {{"role", "user"},
          {"content",
           {{{"type", "tool_result"}, {"tool_use_id", "1"}, {"content", "c"}},
            {{"type", "text"}, {"text", "d"}}}}}}},
       {"stop_sequences", {"end"}},
       {"metadata", {{"user_id", "u"}}},
       {"tools", {{{"name", "f"}, {"input_schema", json::object()}}}},
       {"thinking", {{"type", "disabled"}}},
       {"top_k", 3}});
  EXPECT_EQ(chat.options.max_tokens, 5);
  EXPECT_EQ(chat.options.stop, std::vector<std::string>{"end"});
  EXPECT_EQ(chat.options.sampling.top_k, 3);
  EXPECT_EQ(chat.prefill, "");
  const json t = Template(chat);
  ASSERT_EQ(t["messages"].size(), 5u) << t;
  EXPECT_EQ(t["messages"][0], (json{{"role", "system"}, {"content", "Be kind.\nBe short."}}));
  EXPECT_EQ(t["messages"][2]["content"], "b [1] c");
  EXPECT_EQ(t["messages"][2]["tool_calls"][0]["function"]["arguments"], R"({"x":1})");
  EXPECT_EQ(t["messages"][3],
            (json{{"role", "tool"}, {"content", "c"}, {"tool_call_id", "1"}, {"name", "f"}}));
  EXPECT_EQ(t["messages"][4], (json{{"role", "user"}, {"content", "d"}}));
  EXPECT_EQ(t["tools"][0]["function"]["parameters"], json::object());
  EXPECT_EQ(t["chat_template_kwargs"]["enable_thinking"], false);
}

TEST(Translation, ALastMessageOfTheAssistantIsTheAnswersBeginning) {
  const ChatRequest chat = FromMessages(
      {{"messages", json::array({kUser, {{"role", "assistant"}, {"content", "Once"}}})}});
  EXPECT_EQ(chat.prefill, "Once");
  EXPECT_EQ(Template(chat)["messages"].size(), 1u);
}

TEST(Translation, WhatMessagesCannotDoIsNamed) {
  const auto blocks = [](const char* role, const json& block) {
    return json{{"messages", json::array({{{"role", role}, {"content", json::array({block})}}})}};
  };
  EXPECT_EQ(MessagesParam({{"max_tokens", nullptr}}), "max_tokens");
  EXPECT_EQ(MessagesParam({{"max_tokens", 0}}), "max_tokens");
  EXPECT_EQ(MessagesParam({{"messages", json::array()}}), "messages");
  EXPECT_EQ(MessagesParam({{"messages", "x"}}), "messages");
  EXPECT_EQ(MessagesParam({{"messages", {{{"role", "system"}, {"content", "x"}}}}}),
            "messages[0].role");
  EXPECT_EQ(MessagesParam({{"messages", {{{"role", "user"}}}}}), "messages[0].content");
  EXPECT_EQ(MessagesParam(blocks("user", {{"type", "image"}})), "messages[0].content[0]");
  EXPECT_EQ(MessagesParam(blocks("user", {{"type", "tool_use"}})), "messages[0].content[0]");
  EXPECT_EQ(MessagesParam(blocks("user", {{"type", "tool_result"}})),
            "messages[0].content[0].tool_use_id");
  EXPECT_EQ(MessagesParam(blocks("assistant", {{"type", "tool_use"}, {"id", "1"}})),
            "messages[0].content[0]");
  EXPECT_EQ(MessagesParam({{"messages", {{{"role", "assistant"}, {"content", "x"}}}}}), "messages");
  // What templates leave out of a turn before may be all that there is.
  EXPECT_EQ(MessagesParam(blocks("assistant", {{"type", "thinking"}, {"thinking", "x"}})),
            "messages");
  EXPECT_EQ(MessagesParam(blocks("assistant", {{"type", "redacted_thinking"}})), "messages");
  EXPECT_EQ(MessagesParam({{"system", 1}}), "system");
  for (const json& wrong : {json("x"), json{1}, json{""}, json{"a", "b", "c", "d", "e"}}) {
    EXPECT_EQ(MessagesParam({{"stop_sequences", wrong}}), "stop_sequences") << wrong;
  }
  EXPECT_EQ(MessagesParam({{"tools", "x"}}), "tools");
  EXPECT_EQ(MessagesParam({{"tools", {{{"type", "bash_20250124"}, {"name", "bash"}}}}}),
            "tools[0]");
  EXPECT_EQ(MessagesParam({{"tool_choice", "auto"}}), "tool_choice");
  EXPECT_EQ(MessagesParam({{"thinking", true}}), "thinking");
  EXPECT_EQ(MessagesParam({{"nonsense", 9}}, UnknownFields::kRefuse), "nonsense");
}

TEST(Translation, AMessagesFormatBecomesASchema) {
  const json format = {{"type", "json_schema"}, {"schema", {{"type", "null"}}}};
  const auto constraint_of = [](const json& fields) {
    json body = {{"max_tokens", 5}, {"messages", json::array({kUser})}};
    body.update(fields);
    auto parsed = ParseMessagesRequest(body.dump(), UnknownFields::kRefuse);
    EXPECT_TRUE(std::holds_alternative<TranslatedChat>(parsed)) << fields;
    return std::get<TranslatedChat>(std::move(parsed)).chat.options.constraint;
  };
  for (const json& fields : {json{{"output_config", {{"format", format}, {"effort", "low"}}}},
                             json{{"output_format", format}}}) {
    const OutputConstraint constraint = constraint_of(fields);
    EXPECT_EQ(constraint.kind, OutputConstraint::Kind::kJsonSchema);
    EXPECT_EQ(json::parse(constraint.text), json({{"type", "null"}}));
  }
  for (const json& fields : {json{{"output_config", {{"effort", "low"}}}},
                             json{{"output_config", {{"format", nullptr}}}},
                             json{{"output_format", nullptr}}, json::object()}) {
    EXPECT_EQ(constraint_of(fields).kind, OutputConstraint::Kind::kNone) << fields;
  }
  EXPECT_EQ(MessagesParam({{"output_config", 5}}), "output_config");
  for (const json& wrong : {json("x"), json{{"type", "text"}}, json{{"type", "json_schema"}},
                            json{{"type", "json_schema"}, {"schema", 1}}}) {
    EXPECT_EQ(MessagesParam({{"output_config", {{"format", wrong}}}}), "output_config.format");
    EXPECT_EQ(MessagesParam({{"output_format", wrong}}), "output_format") << wrong;
  }
}

// The translation puts a tool's schema one level deeper than the body has it.
TEST(Translation, NestingThatBecomesTooDeepIsRefused) {
  json schema = json::object();
  for (int i = 0; i < 58; ++i) schema = json{{"properties", schema}};
  json body = {{"max_tokens", 5}, {"messages", json::array({kUser})}};
  for (int depth = 58; depth < 64; ++depth) {
    body["tools"] = json::array({{{"name", "f"}, {"input_schema", schema}}});
    const auto parsed = ParseMessagesRequest(body.dump(), UnknownFields::kRefuse);
    if (const auto* error = std::get_if<ApiError>(&parsed)) {
      EXPECT_NE(error->message.find("nested deeper"), std::string::npos) << error->message;
    } else {
      EXPECT_LE(depth, 59);
    }
    schema = json{{"properties", schema}};
  }
}

}  // namespace
}  // namespace millrace
