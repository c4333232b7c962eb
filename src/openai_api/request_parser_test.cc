// Every field of the request bodies: right, of the wrong type, out of range, absent; and bodies
// that are made to hurt.
#include "openai_api/request_parser.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using nlohmann::json;

const json kUser = {{"role", "user"}, {"content", "hello"}};

json ChatBody(const json& change = json::object()) {
  json body = {{"messages", json::array({kUser})}};
  body.update(change);
  return body;
}

ApiResult<ChatRequest> ParseChat(const json& change,
                                 UnknownFields unknown = UnknownFields::kIgnore) {
  return ParseChatRequest(ChatBody(change).dump(), unknown);
}

ChatRequest Chat(const json& change) {
  auto parsed = ParseChat(change, UnknownFields::kRefuse);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << change << ": " << error->message;
    return {};
  }
  return std::get<ChatRequest>(std::move(parsed));
}

CompletionRequest Completion(const json& change) {
  json body = {{"prompt", "x"}};
  body.update(change);
  auto parsed = ParseCompletionRequest(body.dump(), UnknownFields::kRefuse);
  if (const auto* error = std::get_if<ApiError>(&parsed)) {
    ADD_FAILURE() << change << ": " << error->message;
    return {};
  }
  return std::get<CompletionRequest>(std::move(parsed));
}

template <class T>
ApiError ErrorOf(const ApiResult<T>& result, const std::string& what) {
  if (const auto* error = std::get_if<ApiError>(&result)) {
    EXPECT_EQ(error->status, 400) << what;
    EXPECT_EQ(error->type, "invalid_request_error") << what;
    EXPECT_FALSE(error->message.empty()) << what;
    EXPECT_LT(error->message.size(), 1000u) << what;
    return *error;
  }
  ADD_FAILURE() << what << " was accepted";
  return {};
}

ApiError ChatError(const json& change, UnknownFields unknown = UnknownFields::kIgnore) {
  return ErrorOf(ParseChat(change, unknown), change.dump().substr(0, 200));
}

ApiError CompletionError(const json& change) {
  json body = {{"prompt", "x"}};
  body.update(change);
  return ErrorOf(ParseCompletionRequest(body.dump(), UnknownFields::kIgnore),
                 change.dump().substr(0, 200));
}

ApiError RawError(std::string_view body) {
  return ErrorOf(ParseChatRequest(body, UnknownFields::kIgnore), std::string(body.substr(0, 200)));
}

TEST(RequestParser, DefaultsAreOpenAis) {
  for (const char* field : {"temperature", "top_p", "n", "stop", "seed", "logit_bias", "stream",
                            "stream_options", "max_tokens", "max_completion_tokens", "logprobs",
                            "top_logprobs", "tools", "tool_choice", "user", "response_format"}) {
    const GenerationOptions options = Chat({{field, nullptr}}).options;  // null counts as absent
    EXPECT_EQ(options.model, "");
    EXPECT_EQ(options.sampling.temperature, 1.0f);
    EXPECT_EQ(options.sampling.top_p, 1.0f);
    EXPECT_EQ(options.sampling.top_k, 0);
    EXPECT_EQ(options.sampling.top_logprobs, -1);
    EXPECT_TRUE(options.sampling.logit_bias.empty());
    EXPECT_FALSE(options.has_seed);
    EXPECT_EQ(options.max_tokens, std::nullopt);
    EXPECT_EQ(options.n, 1);
    EXPECT_TRUE(options.stop.empty());
    EXPECT_FALSE(options.ignore_eos || options.stream || options.include_usage);
  }
  EXPECT_EQ(Completion(json::object()).options.max_tokens, 16);
}

TEST(RequestParser, NumbersAreTakenToTheBordersOfTheirRanges) {
  struct Field {
    const char* name;
    float SamplingParams::*target;
    std::vector<double> right;
    std::vector<double> wrong;
  };
  const std::vector<Field> fields = {
      {"temperature", &SamplingParams::temperature, {0, 0.7, 2}, {-0.001, 2.001, 1e300}},
      {"top_p", &SamplingParams::top_p, {0.001, 0.9, 1}, {-0.1, 1.001}},
      {"min_p", &SamplingParams::min_p, {0, 0.05, 0.9999}, {-0.1, 1}},
      {"presence_penalty", &SamplingParams::presence_penalty, {-2, 0, 2}, {-2.01, 2.01}},
      {"frequency_penalty", &SamplingParams::frequency_penalty, {-2, 0.5, 2}, {-2.01, 2.01}},
      {"repetition_penalty", &SamplingParams::repetition_penalty, {0.01, 1.3, 100}, {0, -1, 101}},
  };
  for (const Field& field : fields) {
    for (const double value : field.right) {
      EXPECT_EQ(Chat({{field.name, value}}).options.sampling.*field.target,
                static_cast<float>(value));
    }
    std::vector<json> wrong = {"0.5", true, json::array({0.5}), json::object()};
    wrong.insert(wrong.end(), field.wrong.begin(), field.wrong.end());
    for (const json& value : wrong) {
      EXPECT_EQ(ChatError({{field.name, value}}).param, field.name) << value;
    }
  }
}

TEST(RequestParser, WholeNumbersAreTakenToTheBordersOfTheirRanges) {
  struct Field {
    const char* name;
    std::vector<json> right;
    std::vector<json> wrong;
  };
  const int64_t int32_max = 2147483647;
  const std::vector<Field> fields = {
      {"max_tokens", {1, 100, 100.0, int32_max}, {0, -1, int32_max + 1, 1.5}},
      {"max_completion_tokens", {1, int32_max}, {0, 1.5}},
      {"top_k", {-1, 0, 40, int32_max}, {-2, int32_max + 1, 0.5}},
      {"n", {1, 8}, {0, 9, -1, 1.5}},
      {"seed",
       {0, -1, INT64_MIN, INT64_MAX, 5.0},
       {1.5, uint64_t{1} << 63, UINT64_MAX, 1e19, -1e19, 1e300}},
  };
  for (const Field& field : fields) {
    for (const json& value : field.right) Chat({{field.name, value}});
    std::vector<json> wrong = {"1", true, json::array({1}), json::object()};
    wrong.insert(wrong.end(), field.wrong.begin(), field.wrong.end());
    for (const json& value : wrong) {
      EXPECT_EQ(ChatError({{field.name, value}}).param, field.name) << value;
    }
  }
  EXPECT_EQ(Chat({{"max_tokens", 7}}).options.max_tokens, 7);
  // The newer name wins.
  EXPECT_EQ(Chat({{"max_tokens", 7}, {"max_completion_tokens", 9}}).options.max_tokens, 9);
  EXPECT_EQ(Chat({{"n", 3}}).options.n, 3);
  EXPECT_EQ(Chat({{"top_k", -1}}).options.sampling.top_k, 0);  // all, as elsewhere
  const GenerationOptions seeded = Chat({{"seed", -1}}).options;
  EXPECT_TRUE(seeded.has_seed);
  EXPECT_EQ(seeded.sampling.seed, UINT64_MAX);
}

TEST(RequestParser, TopPOfZeroMeansTheMostLikelyToken) {
  const SamplingParams sampling = Chat({{"top_p", 0}, {"top_k", 40}}).options.sampling;
  EXPECT_EQ(sampling.top_k, 1);
  EXPECT_EQ(sampling.top_p, 1.0f);
}

TEST(RequestParser, Switches) {
  for (const char* name : {"stream", "ignore_eos", "logprobs", "add_generation_prompt"}) {
    Chat({{name, true}});
    Chat({{name, false}});
    for (const json& wrong : {json(1), json("true"), json::array(), json::object()}) {
      EXPECT_EQ(ChatError({{name, wrong}}).param, name) << wrong;
    }
  }
  EXPECT_TRUE(Chat({{"stream", true}}).options.stream);
  EXPECT_TRUE(Chat({{"ignore_eos", true}}).options.ignore_eos);
  const json usage = {{"include_usage", true}};
  EXPECT_TRUE(Chat({{"stream", true}, {"stream_options", usage}}).options.include_usage);
  EXPECT_FALSE(Chat({{"stream", true}, {"stream_options", json::object()}}).options.include_usage);
  EXPECT_EQ(ChatError({{"stream_options", usage}}).param, "stream_options");
  EXPECT_EQ(ChatError({{"stream", true}, {"stream_options", 1}}).param, "stream_options");
  EXPECT_EQ(ChatError({{"stream", true}, {"stream_options", {{"include_usage", 1}}}}).param,
            "stream_options.include_usage");
}

TEST(RequestParser, Texts) {
  for (const char* name : {"model", "user", "prompt_cache_key"}) {
    Chat({{name, "a name"}});
    for (const json& wrong : {json(1), json(true), json::array({"x"}), json::object()}) {
      EXPECT_EQ(ChatError({{name, wrong}}).param, name) << wrong;
    }
  }
  EXPECT_EQ(Chat({{"model", "m"}}).options.model, "m");
}

TEST(RequestParser, StopStrings) {
  EXPECT_EQ(Chat({{"stop", "a"}}).options.stop, std::vector<std::string>{"a"});
  EXPECT_EQ(Chat({{"stop", {"a", "b", "c", "d"}}}).options.stop.size(), 4u);
  EXPECT_TRUE(Chat({{"stop", json::array()}}).options.stop.empty());
  EXPECT_EQ(Chat({{"stop", std::string(1024, 'x')}}).options.stop[0].size(), 1024u);
  for (const json& wrong :
       {json(1), json(true), json::object(), json(""), json(std::string(1025, 'x')),
        json::array({"a", "b", "c", "d", "e"}), json::array({"a", 1}), json::array({"a", ""}),
        json::array({json::array({"a"})})}) {
    EXPECT_EQ(ChatError({{"stop", wrong}}).param, "stop") << wrong;
  }
}

TEST(RequestParser, LogitBias) {
  const auto bias = Chat({{"logit_bias", {{"5", -100}, {"17", 2.5}}}}).options.sampling.logit_bias;
  ASSERT_EQ(bias.size(), 2u);
  for (const auto& [token, amount] : bias) EXPECT_EQ(amount, token.value == 5 ? -100.0f : 2.5f);
  for (const json& wrong :
       {json(1), json::array({1}), json("x"), json{{"x", 1}}, json{{"-1", 1}}, json{{"", 1}},
        json{{"1.5", 1}}, json{{"1", 100.5}}, json{{"1", -101}}, json{{"1", "1"}},
        json{{"1", nullptr}}, json{{"1", true}}, json{{"9999999999", 1}}}) {
    EXPECT_EQ(ChatError({{"logit_bias", wrong}}).param, "logit_bias") << wrong;
  }
}

TEST(RequestParser, Logprobs) {
  EXPECT_EQ(Chat({{"logprobs", true}}).options.sampling.top_logprobs, 0);
  EXPECT_EQ(Chat({{"logprobs", true}, {"top_logprobs", 20}}).options.sampling.top_logprobs, 20);
  EXPECT_EQ(Chat({{"logprobs", false}, {"top_logprobs", 0}}).options.sampling.top_logprobs, -1);
  EXPECT_EQ(ChatError({{"logprobs", true}, {"top_logprobs", 21}}).param, "top_logprobs");
  EXPECT_EQ(ChatError({{"logprobs", true}, {"top_logprobs", -1}}).param, "top_logprobs");
  EXPECT_EQ(ChatError({{"top_logprobs", 1}}).param, "top_logprobs");
  EXPECT_EQ(Completion({{"logprobs", 0}}).options.sampling.top_logprobs, 0);
  EXPECT_EQ(Completion({{"logprobs", 20}}).options.sampling.top_logprobs, 20);
  EXPECT_EQ(CompletionError({{"logprobs", 21}}).param, "logprobs");
  EXPECT_EQ(CompletionError({{"logprobs", true}}).param, "logprobs");
}

// What the design knows and this server cannot do is refused, never ignored; values that ask for
// nothing are not.
TEST(RequestParser, WhatCannotBeDoneIsRefused) {
  for (const char* name : {"grammar", "documents", "suffix", "functions", "function_call"}) {
    for (const json& value : {json("x"), json::array({"x"}), json::object(), json(1)}) {
      const ApiError error = ChatError({{name, value}});
      EXPECT_EQ(error.param, name);
      EXPECT_EQ(error.code, "unsupported_parameter");
    }
    Chat({{name, ""}});
    Chat({{name, json::array()}});
  }
  Chat({{"response_format", {{"type", "text"}}}});
  for (const json& value :
       {json("text"), json::object(), json{{"type", "json_object"}}, json{{"type", 1}}}) {
    EXPECT_EQ(ChatError({{"response_format", value}}).param, "response_format") << value;
  }
  Chat({{"tool_choice", "auto"}});
  for (const json& value : {json("required"), json("x"), json(1), json{{"type", "function"}}}) {
    EXPECT_EQ(ChatError({{"tool_choice", value}}).param, "tool_choice") << value;
  }
  Completion({{"echo", false}, {"best_of", 1}});
  EXPECT_EQ(CompletionError({{"echo", true}}).param, "echo");
  EXPECT_EQ(CompletionError({{"best_of", 2}}).param, "best_of");
}

TEST(RequestParser, MessagesReachTheTemplate) {
  const json messages = {
      {{"role", "developer"}, {"content", "be kind"}},
      {{"role", "user"},
       {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}},
       {"name", "eve"}},
      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", json::array()}},
      {{"role", "tool"}, {"content", ""}, {"tool_call_id", "1"}}};
  const json chat = json::parse(Chat({{"messages", messages}}).template_json);
  EXPECT_EQ(chat["messages"][0], (json{{"role", "system"}, {"content", "be kind"}}));
  EXPECT_EQ(chat["messages"][1], (json{{"role", "user"}, {"content", "ab"}, {"name", "eve"}}));
  EXPECT_EQ(chat["messages"][2], messages[2]);
  EXPECT_EQ(chat["messages"][3], messages[3]);
  EXPECT_EQ(chat["add_generation_prompt"], true);
}

TEST(RequestParser, WrongMessagesAreNamed) {
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

TEST(RequestParser, ToolsReachTheTemplateUnlessNoneAreWanted) {
  const json tools = json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  EXPECT_EQ(json::parse(Chat({{"tools", tools}}).template_json)["tools"], tools);
  for (const json& change : {json{{"tools", tools}, {"tool_choice", "none"}},
                             json{{"tools", json::array()}}, json::object()}) {
    EXPECT_FALSE(json::parse(Chat(change).template_json).contains("tools")) << change;
  }
  for (const json& wrong :
       {json("x"), json::object(), json::array({"f"}), json::array({nullptr})}) {
    EXPECT_EQ(ChatError({{"tools", wrong}}).param, "tools") << wrong;
  }
  const json kwargs = {{"enable_thinking", false}};
  EXPECT_EQ(
      json::parse(Chat({{"chat_template_kwargs", kwargs}}).template_json)["chat_template_kwargs"],
      kwargs);
  EXPECT_EQ(ChatError({{"chat_template_kwargs", 1}}).param, "chat_template_kwargs");
}

TEST(RequestParser, Prompts) {
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

TEST(RequestParser, TokenizeAndDetokenize) {
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

TEST(RequestParser, UnknownFieldsAreIgnoredOrRefused) {
  EXPECT_TRUE(std::holds_alternative<ChatRequest>(ParseChat({{"frobnicate", 1}})));
  const ApiError error = ChatError({{"frobnicate", 1}}, UnknownFields::kRefuse);
  EXPECT_EQ(error.param, "frobnicate");
  EXPECT_EQ(error.code, "unknown_parameter");
  // A long name is not thrown back whole.
  EXPECT_LT(ChatError({{std::string(1 << 20, 'x'), 1}}, UnknownFields::kRefuse).param.size(), 200u);
}

TEST(RequestParser, OfDuplicateKeysTheLastCounts) {
  const auto parsed = ParseChatRequest(
      R"({"temperature": 2, "messages": [{"role": "user", "content": "a", "content": "b"}],
          "temperature": 0.5})",
      UnknownFields::kRefuse);
  ASSERT_TRUE(std::holds_alternative<ChatRequest>(parsed));
  const auto& chat = std::get<ChatRequest>(parsed);
  EXPECT_EQ(chat.options.sampling.temperature, 0.5f);
  EXPECT_EQ(json::parse(chat.template_json)["messages"][0]["content"], "b");
}

TEST(RequestParser, WhatIsNotJsonIsRefused) {
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
}

TEST(RequestParser, DeepNestingIsRefusedBeforeItIsRead) {
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

TEST(RequestParser, LargeTextsAreTakenAndLargeObjectsAreNot) {
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

TEST(RequestParserTest, PrefixReuse) {
  const GenerationOptions plain = Chat(json::object()).options;
  EXPECT_TRUE(plain.prefix_cache);
  EXPECT_FALSE(plain.pin.has_value());
  EXPECT_EQ(plain.cache_salt, "");
  EXPECT_EQ(Chat({{"cache_salt", "x"}, {"prompt_cache_key", "y"}}).options.cache_salt, "x");
  const auto own = [](const json& fields) { return Chat({{"millrace", fields}}).options; };
  EXPECT_FALSE(own({{"prefix_cache", "off"}}).prefix_cache);
  EXPECT_FALSE(own({{"prefix_cache", false}}).prefix_cache);
  EXPECT_TRUE(own({{"prefix_cache", "on"}}).prefix_cache);
  EXPECT_TRUE(own({{"prefix_cache", nullptr}}).prefix_cache);
  EXPECT_EQ(own({{"pin", true}}).pin, true);
  EXPECT_EQ(own({{"pin", false}}).pin, false);
  EXPECT_EQ(own({{"pin", nullptr}}).pin, std::nullopt);
  EXPECT_EQ(ChatError({{"millrace", "on"}}).param, "millrace");
  EXPECT_EQ(ChatError({{"millrace", {{"prefix_cache", "maybe"}}}}).param, "millrace.prefix_cache");
  EXPECT_EQ(ChatError({{"millrace", {{"prefix_cache", 1}}}}).param, "millrace.prefix_cache");
  EXPECT_EQ(ChatError({{"millrace", {{"pin", "yes"}}}}).param, "millrace.pin");
  EXPECT_EQ(own({{"speculate", "lookup"}}).speculate, Speculation::kLookup);
  EXPECT_EQ(own({{"prefix_cache", true}}).speculate, std::nullopt);
  EXPECT_EQ(ChatError({{"millrace", {{"speculate", "often"}}}}).param, "millrace.speculate");
  EXPECT_EQ(ChatError({{"millrace", {{"speculate", true}}}}).param, "millrace.speculate");
  EXPECT_TRUE(Chat({{"millrace", {{"explain", true}}}, {"stream", true}}).options.explain);
  EXPECT_EQ(ChatError({{"millrace", {{"explain", true}}}}).param, "millrace.explain");
  EXPECT_EQ(ChatError({{"cache_salt", 5}}).param, "cache_salt");
  EXPECT_EQ(ChatError({{"cache_salt", std::string(257, 'x')}}).param, "cache_salt");
}

}  // namespace
}  // namespace millrace
