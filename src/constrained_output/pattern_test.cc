// Patterns put together from literals, markers, schemas, grammars and free text.
#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"
#include "constrained_output/test_support.h"
#include "constrained_output/text_pattern.h"

namespace millrace {
namespace {

using Kind = TextPattern::Kind;

std::shared_ptr<const OutputGrammar> PatternOf(const TextPattern& pattern) {
  auto grammar = OutputGrammar::FromPattern(pattern, ByteVocabulary());
  EXPECT_TRUE(grammar.ok()) << (grammar.ok() ? "" : grammar.error().message);
  return grammar.ok() ? *grammar : nullptr;
}

std::string PatternError(const TextPattern& pattern) {
  const auto grammar = OutputGrammar::FromPattern(pattern, ByteVocabulary());
  return grammar.ok() ? "" : grammar.error().message;
}

TextPattern Text(const char* text) { return TextPattern::Of(Kind::kLiteral, text); }

TEST(Pattern, PartsStandBehindAndBesideOneAnother) {
  const auto grammar = PatternOf(TextPattern::Sequence(
      {Text("<"), TextPattern::Choice({TextPattern::Of(Kind::kRegex, "[ab]{2}"), Text("z")}),
       TextPattern::Repeat(Text("!"), 1, 3), TextPattern::Optional(Text(">"))}));
  for (const char* good : {"<ab!", "<z!!!>", "<bb!>"}) EXPECT_TRUE(Accepts(grammar, good)) << good;
  for (const char* bad : {"", "<ab", "<a!", "<z!!!!", "ab!", "<z!>>"}) {
    EXPECT_FALSE(Accepts(grammar, bad)) << bad;
  }
}

TEST(Pattern, OneGrammarMayStandInSeveralPlaces) {
  const TextPattern person = TextPattern::Of(
      Kind::kJsonSchema, R"({"type": "object", "properties": {"n": {"type": "integer"},
        "of": {"$ref": "#"}}, "required": ["n"]})");
  const TextPattern name = TextPattern::Of(Kind::kGbnf, "root ::= \"x\" root | \"\"");
  const auto grammar = PatternOf(TextPattern::Sequence(
      {name, Text(":"), person,
       TextPattern::Repeat(TextPattern::Sequence({Text(";"), person}), 0, {}), name}));
  EXPECT_TRUE(Accepts(grammar, R"(:{"n": 1})"));
  EXPECT_TRUE(Accepts(grammar, R"(xxx:{"n": 1};{"n": -2, "of": {"n": 3}};{"n":4}xx)"));
  EXPECT_FALSE(Accepts(grammar, R"(x:{"n": 1};)"));
  EXPECT_FALSE(Accepts(grammar, R"({"n": 1})"));
}

// Free text and then a block that must be right: the text cannot hold what begins the block.
TEST(Pattern, FreeTextEndsWhereTheMarkerStands) {
  const TextPattern call = TextPattern::Sequence(
      {Text("<call>"), TextPattern::Of(Kind::kRegex, "[0-9]+"), Text("</call>")});
  const TextPattern text = TextPattern::Without("<call>");
  const auto grammar = PatternOf(TextPattern::Sequence(
      {TextPattern::Repeat(TextPattern::Sequence({text, call}), 0, {}), text}));
  for (const char* good : {"", "hello", "a <cal", "a <<call>12</call> b <c>",
                           "<call>1</call><call>2</call>", "\xE2\x82\xAC<call>7</call>\n"}) {
    EXPECT_TRUE(Accepts(grammar, good)) << good;
  }
  for (const char* bad : {"<call>", "a <call>x", "<call>1</call", "<call>1</call> <call></call>"}) {
    EXPECT_FALSE(Accepts(grammar, bad)) << bad;
  }
}

TEST(Pattern, NoMatchIsAnyTextWithoutOne) {
  const auto grammar = PatternOf(TextPattern::Of(Kind::kNoMatch, "^\\s*\\{|b{3}"));
  for (const char* good : {"", "a{", "abba", "  a"}) EXPECT_TRUE(Accepts(grammar, good)) << good;
  for (const char* bad : {"{", "  {a", "abbbc"}) EXPECT_FALSE(Accepts(grammar, bad)) << bad;
}

// What a random text is said to be, against a search of it.
TEST(Pattern, WithoutAgreesWithASearch) {
  const std::string marker = "aab";
  const auto grammar = PatternOf(TextPattern::Without(marker));
  CounterRng rng(7, 0);
  int held = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (uint64_t length = rng.NextU64() % 12; length > 0; --length) {
      text += static_cast<char>('a' + rng.NextU64() % 2);
    }
    const bool holds = text.find(marker) != std::string::npos;
    held += holds;
    EXPECT_EQ(Accepts(grammar, text), !holds) << text;
  }
  EXPECT_GT(held, 200);
}

// Tokens: a, <m>, <c> (a control token), and the end.
TEST(Pattern, AMarkerIsTheControlTokenWhereThereIsOne) {
  const auto vocabulary =
      std::make_shared<OutputVocabulary>(std::vector<OutputVocabulary::Token>{{"a", false},
                                                                              {"<m>", false},
                                                                              {"<c>", true},
                                                                              {"<", false},
                                                                              {"c", false},
                                                                              {">", false},
                                                                              {"<end>", true}},
                                         std::vector{TokenId(6)});
  const auto allowed = [&](const TextPattern& pattern, int32_t token) {
    const auto grammar = OutputGrammar::FromPattern(pattern, vocabulary);
    EXPECT_TRUE(grammar.ok());
    OutputMatcher matcher(*grammar);
    const auto mask = matcher.Mask();
    EXPECT_TRUE(mask.ok());
    EXPECT_EQ((*mask)->Allows(TokenId(token)), OutputMatcher(matcher).Take(TokenId(token)));
    return (*mask)->Allows(TokenId(token));
  };
  const TextPattern plain = TextPattern::Of(Kind::kMarker, "<m>");
  EXPECT_TRUE(allowed(plain, 1));
  const TextPattern control = TextPattern::Of(Kind::kMarker, "<c>");
  EXPECT_TRUE(allowed(control, 2));
  EXPECT_FALSE(allowed(control, 3));  // nor its letters
  EXPECT_TRUE(allowed(TextPattern::Of(Kind::kLiteral, "<c>"), 3));
}

TEST(Pattern, WhatDoesNotCompileIsSaid) {
  EXPECT_NE(PatternError(TextPattern::Of(Kind::kJsonSchema, R"({"not": {}})")).find("'not'"),
            std::string::npos);
  EXPECT_FALSE(PatternError(TextPattern::Of(Kind::kRegex, "(")).empty());
  EXPECT_FALSE(PatternError(TextPattern::Of(Kind::kGbnf, "root ::= root")).empty());
  EXPECT_FALSE(PatternError(TextPattern::Choice({})).empty());  // matches nothing
  EXPECT_FALSE(PatternError(TextPattern::Repeat(Text("a"), 0, 1'000'000)).empty());
  EXPECT_FALSE(PatternError(TextPattern::Sequence({Text(std::string(40'000, 'a').c_str()),
                                                   Text(std::string(40'000, 'b').c_str())}))
                   .empty());
  EXPECT_FALSE(PatternError(TextPattern::Repeat(
                                TextPattern::Repeat(Text(std::string(100, 'x').c_str()), 900, 900),
                                900, 900))
                   .empty());
}

}  // namespace
}  // namespace millrace
