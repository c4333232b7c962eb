// Patterns of answers over a vocabulary of bytes: what they allow is what the reader takes apart.
#include "answer_parts/answer_pattern.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "answer_parts/answer_reader.h"
#include "constrained_output/output_grammar.h"

namespace millrace {
namespace {

using PatternKind = TextPattern::Kind;

std::shared_ptr<const OutputVocabulary> Bytes() {
  std::vector<OutputVocabulary::Token> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back({std::string(1, char(byte)), false});
  tokens.push_back({"<end>", true});
  return std::make_shared<OutputVocabulary>(std::move(tokens), std::vector{TokenId(256)});
}

std::shared_ptr<const OutputGrammar> Compiled(const TextPattern& pattern) {
  static const auto vocabulary = Bytes();
  auto grammar = OutputGrammar::FromPattern(pattern, vocabulary);
  EXPECT_TRUE(grammar.ok()) << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? *grammar : nullptr;
}

bool Allows(const std::shared_ptr<const OutputGrammar>& grammar, std::string_view text) {
  OutputMatcher matcher(grammar);
  for (const char c : text) {
    if (!matcher.Take(TokenId(static_cast<uint8_t>(c)))) return false;
  }
  return matcher.IsWhole();
}

const ToolFunction kCity = {"city",
                            R"({"type": "object", "properties": {"name": {"$ref": "#/$defs/n"}},
    "required": ["name"], "$defs": {"n": {"enum": ["Oslo", "Rome"]}}, "additionalProperties": false})",
                            true};
const ToolFunction kClock = {"clock", "", false};

std::shared_ptr<const OutputGrammar> Of(AnswerRules rules) {
  const auto pattern = PatternOfAnswer(rules);
  EXPECT_TRUE(pattern.has_value());
  return Compiled(*pattern);
}

constexpr ToolFormat kFormats[] = {
    ToolFormat::kHermes,    ToolFormat::kLlama3, ToolFormat::kMistral, ToolFormat::kMistralArgs,
    ToolFormat::kQwenCoder, ToolFormat::kGlm,    ToolFormat::kJson};

// The members of an object between tags; strings without their quotes.
std::string Members(const std::string& object, const std::string& before_key,
                    const std::string& before_value, const std::string& behind_value) {
  std::string text;
  const auto json = nlohmann::ordered_json::parse(object);
  if (!json.is_object()) return before_key + "x" + before_value + object + behind_value;
  for (const auto& [key, value] : json.items()) {
    text += before_key + key + before_value;
    text += (value.is_string() ? value.get<std::string>() : value.dump()) + behind_value;
  }
  return text;
}

std::string Spelled(ToolFormat format, const std::string& name, const std::string& arguments) {
  const std::string key = format == ToolFormat::kLlama3 ? "parameters" : "arguments";
  const std::string call = "{\"name\": \"" + name + "\", \"" + key + "\": " + arguments + "}";
  switch (format) {
    case ToolFormat::kHermes:
      return "<tool_call>\n" + call + "\n</tool_call>";
    case ToolFormat::kMistral:
      return "[TOOL_CALLS] [" + call + "]";
    case ToolFormat::kMistralArgs:
      return "[TOOL_CALLS]" + name + "[ARGS]" + arguments;
    case ToolFormat::kQwenCoder:
      return "<tool_call>\n<function=" + name + ">\n" +
             Members(arguments, "<parameter=", ">\n", "\n</parameter>\n") +
             "</function>\n</tool_call>";
    case ToolFormat::kGlm:
      return "<tool_call>" + name + "\n" +
             Members(arguments, "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n") +
             "</tool_call>";
    default:
      return call;
  }
}

TEST(AnswerPattern, WhereACallIsDueNothingElseIs) {
  for (const ToolFormat format : kFormats) {
    const auto grammar =
        Of({.format = format, .functions = {kCity, kClock}, .must_call = true, .content = {}});
    EXPECT_TRUE(Allows(grammar, Spelled(format, "city", R"({"name": "Oslo"})")));
    EXPECT_TRUE(Allows(grammar, Spelled(format, "clock", "{}")));
    for (const char* arguments :
         {"{}", R"({"name": "Paris"})", R"({"name": "Oslo", "x": 1})", "null", "[]"}) {
      EXPECT_FALSE(Allows(grammar, Spelled(format, "city", arguments)))
          << NameOf(format) << arguments;
    }
    EXPECT_FALSE(Allows(grammar, Spelled(format, "clock", "{\"a\": 1}")));
    EXPECT_FALSE(Allows(grammar, Spelled(format, "other", "{}")));
    EXPECT_FALSE(Allows(grammar, "Hello"));
    EXPECT_FALSE(Allows(grammar, ""));
  }
}

TEST(AnswerPattern, SeveralCallsWhereTheyMayBeParallel) {
  const std::string one = Spelled(ToolFormat::kHermes, "clock", "{}");
  const std::string llama = Spelled(ToolFormat::kLlama3, "clock", "{}");
  const std::string json = Spelled(ToolFormat::kJson, "clock", "{}");
  const std::pair<ToolFormat, std::string> two[] = {
      {ToolFormat::kHermes, one + "\n" + one},
      {ToolFormat::kLlama3, llama + "; " + llama},
      {ToolFormat::kMistral, "[TOOL_CALLS][" + json + ", " + json + "]"},
      {ToolFormat::kMistralArgs,
       "[TOOL_CALLS]clock[CALL_ID]a1B2c3D4e[ARGS]{}[TOOL_CALLS]clock[ARGS]{}"},
      {ToolFormat::kQwenCoder, Spelled(ToolFormat::kQwenCoder, "clock", "{}") + "\n" +
                                   Spelled(ToolFormat::kQwenCoder, "clock", "{}")},
      {ToolFormat::kGlm, "\n" + Spelled(ToolFormat::kGlm, "clock", "{}") + "\n" +
                             Spelled(ToolFormat::kGlm, "clock", "{}")},
      {ToolFormat::kJson, "[" + json + "," + json + "]"}};
  for (const auto& [format, text] : two) {
    AnswerRules rules{.format = format, .functions = {kClock}, .must_call = true, .content = {}};
    EXPECT_TRUE(Allows(Of(rules), text)) << text;
    rules.parallel = false;
    EXPECT_FALSE(Allows(Of(rules), text)) << text;
    EXPECT_TRUE(Allows(Of(rules), Spelled(format, "clock", "{}")));
  }
}

TEST(AnswerPattern, TextIsFreeUntilACallOfAStrictFunctionBegins) {
  for (const ToolFormat format : kFormats) {
    const auto grammar = Of({.format = format, .functions = {kCity, kClock}, .content = {}});
    EXPECT_TRUE(Allows(grammar, ""));
    EXPECT_TRUE(Allows(grammar, "It is {fine} [today] <b>."));
    EXPECT_TRUE(Allows(grammar, "{\"answer\": 42}"));
    EXPECT_TRUE(Allows(grammar, Spelled(format, "city", R"({"name": "Rome"})")));
    EXPECT_FALSE(Allows(grammar, Spelled(format, "city", R"({"name": "Paris"})")));
    EXPECT_TRUE(Allows(grammar, Spelled(format, "clock", R"({"any": [1]})")));  // not strict
    EXPECT_FALSE(Allows(grammar, Spelled(format, "other", "{}")));
    const std::string late = "So:\n" + Spelled(format, "city", R"({"name": "Paris"})");
    const bool marked = format != ToolFormat::kLlama3 && format != ToolFormat::kJson;
    EXPECT_EQ(Allows(grammar, late), !marked) << late;  // else it is text
  }
  EXPECT_FALSE(PatternOfAnswer({.functions = {kClock}, .content = {}}).has_value());
  EXPECT_FALSE(PatternOfAnswer(AnswerRules()).has_value());
}

TEST(AnswerPattern, AFormatOfTheAnswerStandsBesideCalls) {
  const TextPattern yes = TextPattern::Of(PatternKind::kRegex, "yes|no");
  const auto grammar = Of({.format = ToolFormat::kHermes, .functions = {kClock}, .content = yes});
  EXPECT_TRUE(Allows(grammar, "yes"));
  EXPECT_TRUE(Allows(grammar, Spelled(ToolFormat::kHermes, "clock", "{}")));
  EXPECT_FALSE(Allows(grammar, "maybe"));
  const auto behind = Compiled(BehindReasoning(ThinkMarkers(), ReasoningBlock::kMayBegin, yes));
  EXPECT_TRUE(Allows(behind, "no"));
  EXPECT_TRUE(Allows(behind, "<think>\nmaybe </thin no\n</think>\n\nno"));
  EXPECT_FALSE(Allows(behind, "maybe</think>no"));
  const auto open = Compiled(BehindReasoning(ThinkMarkers(), ReasoningBlock::kOpen, yes));
  EXPECT_TRUE(Allows(open, "maybe</think>no"));
  EXPECT_FALSE(Allows(open, "no"));
  EXPECT_FALSE(Allows(open, "maybe</think>no</think>no"));
}

// What a mask allows at random, byte by byte; none where it found no end.
std::optional<std::string> RandomAnswer(const std::shared_ptr<const OutputGrammar>& grammar,
                                        std::mt19937& random) {
  OutputMatcher matcher(grammar);
  std::string text;
  while (!matcher.IsWhole() || (!matcher.IsFinished() && random() % 2 == 0)) {
    const auto mask = matcher.Mask();
    EXPECT_TRUE(mask.ok());
    std::vector<int> allowed;
    for (int byte = 0; byte < 256; ++byte) {
      if ((*mask)->Allows(TokenId(byte))) allowed.push_back(byte);
    }
    if (allowed.empty()) break;
    const int byte = allowed[random() % allowed.size()];
    EXPECT_TRUE(matcher.Take(TokenId(byte)));
    text += static_cast<char>(byte);
    if (text.size() > 4000) break;
  }
  if (!matcher.IsWhole()) return std::nullopt;
  return text;
}

// A schema with every kind of value, and the reader's JSON of what its masks allow.
TEST(AnswerPattern, ValuesBetweenTagsAreAsTheSchemaSays) {
  const ToolFunction order = {"order",
                              R"({"$defs": {"size": {"enum": ["S", "M"]}}, "type": "object",
      "properties": {"size": {"$ref": "#/$defs/size"}, "count": {"type": "integer", "minimum": 1,
        "maximum": 12}, "note": {"type": "string", "maxLength": 5}, "code": {"type": "string",
        "pattern": "^[A-Z]{2}</?[a-z]$"}, "maybe": {"anyOf": [{"type": "null"}, {"const": "null"}]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}},
      "required": ["size", "count"], "additionalProperties": false, "maxProperties": 4})",
                              true};
  std::mt19937 random(3);
  for (const ToolFormat format : {ToolFormat::kQwenCoder, ToolFormat::kGlm}) {
    const auto grammar =
        Of({.format = format, .functions = {order}, .must_call = true, .content = {}});
    EXPECT_TRUE(Allows(grammar, Spelled(format, "order", R"({"size": "S", "count": 12})")));
    for (const char* arguments :
         {R"({"size": "L", "count": 1})", R"({"size": "S", "count": 13})", R"({"count": 1})",
          R"({"size": "S", "count": 1, "note": "sixsix"})", R"({"size": "S", "count": 1, "x": 1})",
          R"({"size": "S", "count": 1, "note": "", "code": "AB<a", "tags": []})"}) {
      EXPECT_FALSE(Allows(grammar, Spelled(format, "order", arguments))) << arguments;
    }
    auto types = std::make_shared<FunctionTypes>();
    (*types)["order"] = ArgumentTypes::Of(order.parameters);
    std::map<std::string, int> seen;
    for (int i = 0; i < 150; ++i) {
      const auto text = RandomAnswer(grammar, random);
      if (!text) continue;
      AnswerReader reader(
          {.reasoning = {}, .format = format, .functions = {"order"}, .types = types});
      std::vector<AnswerPart> parts = reader.Take(*text);
      for (AnswerPart& part : reader.Finish()) parts.push_back(std::move(part));
      for (const AnswerPart& part : parts) {
        ASSERT_NE(part.kind, AnswerPart::Kind::kContent) << *text;
        if (part.kind != AnswerPart::Kind::kArguments) continue;
        const auto json = nlohmann::json::parse(part.text, nullptr, false);
        ASSERT_TRUE(json.is_object()) << *text << "\n" << part.text;
        EXPECT_LE(json.size(), 4u);
        EXPECT_TRUE(json.at("size") == "S" || json.at("size") == "M");
        EXPECT_TRUE(json.at("count").is_number_integer()) << part.text;
        EXPECT_GE(json["count"], 1);
        EXPECT_LE(json["count"], 12);
        if (json.contains("note")) {
          EXPECT_TRUE(json["note"].is_string());
        }
        if (json.contains("code")) {
          EXPECT_EQ(json["code"].get<std::string>().find('<'), 2u) << part.text;
        }
        if (json.contains("maybe")) {
          EXPECT_TRUE(json["maybe"].is_null() || json["maybe"] == "null") << part.text;
        }
        if (json.contains("tags")) {
          EXPECT_TRUE(json["tags"].is_array());
        }
        for (const auto& [key, value] : json.items()) ++seen[key];
      }
    }
    EXPECT_EQ(seen.size(), 6u);
    // What a schema asks for that cannot be kept is refused by name, as in the other formats.
    ToolFunction odd = order;
    odd.parameters = R"({"type": "object", "properties": {"a<b": {"type": "string"}}})";
    const auto refused = OutputGrammar::FromPattern(
        ArgumentsPattern(format, odd),
        std::make_shared<OutputVocabulary>(std::vector<OutputVocabulary::Token>{{"a", false}},
                                           std::vector<TokenId>()));
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message.find("a<b"), std::string::npos);
  }
}

// Random walks through the masks: each answer is read as calls whose arguments are right.
TEST(AnswerPattern, WhatIsAllowedIsReadAsCalls) {
  std::mt19937 random(11);
  for (const ToolFormat format : kFormats) {
    const auto grammar =
        Of({.format = format, .functions = {kCity, kClock}, .must_call = true, .content = {}});
    for (int i = 0; i < 60; ++i) {
      const auto found = RandomAnswer(grammar, random);
      if (!found) continue;
      const std::string& text = *found;
      AnswerReader reader({.reasoning = {}, .format = format, .functions = {"city", "clock"}});
      std::vector<AnswerPart> parts = reader.Take(text);
      for (AnswerPart& part : reader.Finish()) parts.push_back(std::move(part));
      ASSERT_GT(reader.calls(), 0) << text;
      std::string name;
      for (const AnswerPart& part : parts) {
        if (part.kind == AnswerPart::Kind::kCall) name = part.text;
        if (part.kind == AnswerPart::Kind::kArguments) {
          const auto arguments = nlohmann::json::parse(part.text);
          EXPECT_EQ(arguments.size(), name == "city" ? 1u : 0u) << text;
        }
        EXPECT_NE(part.kind, AnswerPart::Kind::kContent) << text;
      }
    }
  }
}

}  // namespace
}  // namespace millrace
