// Patterns of answers over a vocabulary of bytes: what they allow is what the reader takes apart.
#include "answer_parts/answer_pattern.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
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

constexpr ToolFormat kFormats[] = {ToolFormat::kHermes, ToolFormat::kLlama3, ToolFormat::kMistral,
                                   ToolFormat::kJson};

std::string Spelled(ToolFormat format, const std::string& name, const std::string& arguments) {
  const std::string key = format == ToolFormat::kLlama3 ? "parameters" : "arguments";
  const std::string call = "{\"name\": \"" + name + "\", \"" + key + "\": " + arguments + "}";
  switch (format) {
    case ToolFormat::kHermes:
      return "<tool_call>\n" + call + "\n</tool_call>";
    case ToolFormat::kMistral:
      return "[TOOL_CALLS] [" + call + "]";
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
    const bool marked = format == ToolFormat::kHermes || format == ToolFormat::kMistral;
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

// Random walks through the masks: each answer is read as calls whose arguments are right.
TEST(AnswerPattern, WhatIsAllowedIsReadAsCalls) {
  std::mt19937 random(11);
  for (const ToolFormat format : kFormats) {
    const auto grammar =
        Of({.format = format, .functions = {kCity, kClock}, .must_call = true, .content = {}});
    for (int i = 0; i < 60; ++i) {
      OutputMatcher matcher(grammar);
      std::string text;
      while (!matcher.IsWhole() || (!matcher.IsFinished() && random() % 2 == 0)) {
        const auto mask = matcher.Mask();
        ASSERT_TRUE(mask.ok());
        std::vector<int> allowed;
        for (int byte = 0; byte < 256; ++byte) {
          if ((*mask)->Allows(TokenId(byte))) allowed.push_back(byte);
        }
        if (allowed.empty()) break;
        const int byte = allowed[random() % allowed.size()];
        ASSERT_TRUE(matcher.Take(TokenId(byte)));
        text += static_cast<char>(byte);
        if (text.size() > 4000) break;
      }
      if (!matcher.IsWhole()) continue;
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
