// Every field of the request bodies: right, of the wrong type, out of range, absent.
#include "openai_api/request_parser.h"

#include <gtest/gtest.h>

#include "openai_api/parsing_test_util.h"

namespace millrace {
namespace {

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
  for (const char* name : {"suffix", "functions", "function_call"}) {
    for (const json& value : {json("x"), json::array({"x"}), json::object(), json(1)}) {
      const ApiError error = ChatError({{name, value}});
      EXPECT_EQ(error.param, name);
      EXPECT_EQ(error.code, "unsupported_parameter");
    }
    Chat({{name, ""}});
    Chat({{name, json::array()}});
  }
  Chat({{"response_format", {{"type", "text"}}}});
  for (const json& value : {json("text"), json::object(), json{{"type", 1}}}) {
    EXPECT_EQ(ChatError({{"response_format", value}}).param, "response_format") << value;
  }
  Chat({{"tool_choice", "auto"}});
  for (const json& value : {json("required"), json("x"), json(1), json{{"type", "function"}}}) {
    EXPECT_EQ(ChatError({{"tool_choice", value}}).param, "tool_choice") << value;
  }
  Completion({{"echo", false}, {"best_of", 1}});
  EXPECT_EQ(CompletionError({{"echo", true}, {"suffix", "x"}}).param, "echo");
  EXPECT_EQ(CompletionError({{"echo", "x"}}).param, "echo");
  EXPECT_EQ(CompletionError({{"suffix", 1}}).param, "suffix");
  EXPECT_EQ(CompletionError({{"max_tokens", 0}}).param, "max_tokens");
  EXPECT_EQ(ChatError({{"max_tokens", 0}}).param, "max_tokens");
  EXPECT_EQ(Completion({{"max_tokens", 0}, {"echo", true}}).options.max_tokens, 0);
  EXPECT_EQ(Completion({{"suffix", "end"}}).suffix, "end");
  EXPECT_EQ(CompletionError({{"best_of", 2}}).param, "best_of");
}

TEST(RequestParser, WhatTheAnswerMustLookLike) {
  using Kind = OutputConstraint::Kind;
  const auto of = [](const json& fields) { return Chat(fields).options.constraint; };
  EXPECT_EQ(of(json::object()).kind, Kind::kNone);
  EXPECT_EQ(of({{"response_format", {{"type", "json_object"}}}}).kind, Kind::kJsonObject);
  const json format = {{"type", "json_schema"},
                       {"json_schema", {{"name", "x"}, {"schema", {{"type", "null"}}}}}};
  const OutputConstraint schema = of({{"response_format", format}});
  EXPECT_EQ(schema.kind, Kind::kJsonSchema);
  EXPECT_EQ(json::parse(schema.text), json({{"type", "null"}}));
  EXPECT_EQ(schema.param, "response_format.json_schema.schema");
  EXPECT_EQ(of({{"grammar", "root ::= \"x\""}}).kind, Kind::kGbnf);
  EXPECT_EQ(of({{"structured_outputs", {{"regex", "a+"}}}}).text, "a+");
  EXPECT_EQ(of({{"guided_regex", "a+"}}).kind, Kind::kRegex);
  EXPECT_EQ(of({{"guided_json", {{"type", "null"}}}}).kind, Kind::kJsonSchema);
  EXPECT_EQ(of({{"structured_outputs", {{"choice", {"a.b", "c"}}}}}).text, "(?:a\\.b)|(?:c)");
  EXPECT_EQ(of({{"structured_outputs", {{"json_object", true}}}}).kind, Kind::kJsonObject);
  EXPECT_EQ(Completion({{"guided_regex", "a"}}).options.constraint.kind, Kind::kRegex);

  EXPECT_EQ(ChatError({{"guided_regex", "a"}, {"grammar", "b"}}).param, "guided_regex");
  EXPECT_EQ(ChatError({{"grammar", 1}}).param, "grammar");
  EXPECT_EQ(ChatError({{"guided_choice", json::array()}}).param, "guided_choice");
  EXPECT_EQ(ChatError({{"structured_outputs", {{"xml", "x"}}}}).param, "structured_outputs.xml");
  EXPECT_EQ(ChatError({{"response_format", {{"type", "json_schema"}}}}).param,
            "response_format.json_schema");
}

TEST(RequestParser, PrefixReuse) {
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
