// Published advisories about grammars, regular expressions and JSON schemas of requests, each as
// the input that crashed or stopped another server. docs/SECURITY.md lists them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "base/rng.h"
#include "constrained_output/test_support.h"

namespace millrace {
namespace {

using testing::HasSubstr;

constexpr size_t kParentheses = 60'000;

// What a limit on time would be on a slow machine under sanitizers.
class InTime {
 public:
  ~InTime() { EXPECT_LT(std::clock() - begin_, 10 * CLOCKS_PER_SEC); }

 private:
  std::clock_t begin_ = std::clock();
};

// CVE-2026-25048 (XGrammar), llamafile issue 860: the parser called itself for each parenthesis
// until the stack ended.
TEST(GrammarAdvisories, Cve202625048SixtyThousandParentheses) {
  const InTime in_time;
  const std::string open(kParentheses, '('), close(kParentheses, ')');
  EXPECT_THAT(GbnfError("root ::= " + open), HasSubstr("nests deeper than 200"));
  EXPECT_NE(GbnfError("root ::= " + open + "\"a\"" + close), "");  // too long, too
  const std::string half(kParentheses / 2, '('), other_half(kParentheses / 2, ')');
  EXPECT_THAT(GbnfError("root ::= " + half + "\"a\"" + other_half),
              HasSubstr("nests deeper than 200"));
  EXPECT_THAT(RegexError(open), HasSubstr("nests deeper than 200"));
  EXPECT_THAT(RegexError(half + other_half), HasSubstr("nests deeper than 200"));
  EXPECT_NE(RegexError(std::string(kParentheses, '[')), "");
  std::string groups;
  for (int i = 0; i < 15'000; ++i) groups += "(?:";
  EXPECT_THAT(RegexError(groups), HasSubstr("nests deeper than 200"));
  // A pattern within a schema is no way round.
  EXPECT_NE(SchemaError(fmt::format(R"({{"type": "string", "pattern": "{}"}})", half + other_half)),
            "");
  // As deep as may be.
  EXPECT_EQ(GbnfError("root ::= " + std::string(190, '(') + "\"a\"" + std::string(190, ')')), "");
}

// CVE-2026-2069 (llama.cpp): a repetition of what may be empty went on without end.
TEST(GrammarAdvisories, Cve20262069RepetitionsOfWhatMayBeEmptyEnd) {
  const InTime in_time;
  for (const char* text : {"root ::= (\"a\"* )*", "root ::= ((\"a\"?)*)+",
                           "root ::= ((((\"a\"*)*)*)*)*", "root ::= x*\nx ::= y*\ny ::= \"a\"*",
                           "root ::= (\"\")* \"a\"*", "root ::= (\"a\"*){0,9}"}) {
    const auto grammar = GbnfOf(text);
    ASSERT_NE(grammar, nullptr) << text;
    EXPECT_TRUE(Accepts(grammar, "")) << text;
    EXPECT_TRUE(Accepts(grammar, std::string(2000, 'a'))) << text;
    EXPECT_FALSE(Accepts(grammar, "ab")) << text;
  }
}

// CVE-2025-57809 (XGrammar): rules that call themselves before they take a character.
TEST(GrammarAdvisories, Cve202557809RulesThatCallThemselvesAreRefused) {
  const InTime in_time;
  for (const char* text :
       {"root ::= root", "root ::= root \"a\"", "root ::= a\na ::= b\nb ::= a | \"x\"",
        "root ::= \"\" root \"a\" | \"b\"", "root ::= (root)* \"a\"", "root ::= (\"x\"? root)+"}) {
    EXPECT_THAT(GbnfError(text),
                testing::AnyOf(HasSubstr("begin with itself"), HasSubstr("matches no text")))
        << text;
  }
  EXPECT_THAT(SchemaError(R"({"$ref": "#"})"), HasSubstr("without end"));
  EXPECT_NE(SchemaError(R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
                           "$ref": "#/$defs/a"})"),
            "");
  EXPECT_NE(SchemaError(R"({"allOf": [{"$ref": "#"}]})"), "");
}

// llama.cpp issue 25283: schemas within schemas, by every keyword that holds one.
TEST(GrammarAdvisories, SchemasNestedWithoutEndAreRefused) {
  const InTime in_time;
  for (const char* keyword :
       {R"("items":)", R"("additionalProperties":)", R"("properties":{"a":)", R"("anyOf":[)",
        R"("allOf":[)", R"("$defs":{"a":)", R"("prefixItems":[)", R"("not":)"}) {
    std::string open;
    while (open.size() < 60'000) open += std::string("{") + keyword;
    EXPECT_THAT(SchemaError(open), HasSubstr("deeper than 64")) << keyword;
    std::string whole = "true";
    for (size_t i = 0; i < 5000; ++i) {
      const std::string opens(keyword);
      const char* closes = opens.ends_with("[") ? "]}" : opens.ends_with(R"({"a":)") ? "}}" : "}";
      whole = "{" + opens + whole + closes;
      if (whole.size() > 60'000) break;
    }
    EXPECT_THAT(SchemaError(whole), HasSubstr("deeper than 64")) << keyword;
  }
}

// CVE-2025-48942, -48943 and -48944 (vLLM): schemas, patterns and types that do not compile ended
// the process.
TEST(GrammarAdvisories, Cve202548942And48943And48944WhatDoesNotCompileIsSaid) {
  const InTime in_time;
  for (const char* schema : {R"({"properties": {"a": {"type": "stsring"}}})",
                             R"({"type": "something"})",
                             R"({"type": ["string", 7]})",
                             R"({"type": 7})",
                             R"({"type": {}})",
                             R"({"type": []})",
                             R"({"properties": {"name": {"type": "string", "pattern": "\\p{"}}})",
                             R"({"type": "string", "pattern": "*"})",
                             R"({"type": "string", "pattern": 5})",
                             R"x({"type": "string", "pattern": "(?P<n>a)"})x",
                             R"({"properties": 5})",
                             R"({"properties": {"a": 5}})",
                             R"({"items": 5})",
                             R"({"enum": {}})",
                             R"({"anyOf": {}})",
                             R"({"anyOf": []})",
                             R"({"$ref": 5})",
                             R"({"$ref": "#/properties/none"})",
                             R"({"required": [5]})",
                             R"({"minimum": "a"})",
                             R"({"minLength": 1.5})",
                             R"({"minItems": -1})",
                             R"(5)",
                             R"("x")",
                             R"(null)",
                             "",
                             "\xff"}) {
    EXPECT_NE(SchemaError(schema), "") << schema;
  }
  for (const char* pattern : {"*", "+a", "(?:abc", "[", "[a", "a{2", "a{,", "\\", "(?", "(?<",
                              "(?i)a", "a{5,1}", "\\k<n>", "[[:alpha:]", "\\x", "\\u12", "\\c"}) {
    const auto grammar = OutputGrammar::FromRegex(pattern, ByteVocabulary());
    EXPECT_TRUE(grammar.ok() || !grammar.error().message.empty()) << pattern;
  }
  EXPECT_NE(RegexError("*"), "");
  EXPECT_NE(RegexError("(?:abc"), "");
}

// CVE-2025-48887 (vLLM) and its kind: patterns whose matching takes exponential time when tried one
// way after the other. Here every way is followed at once.
TEST(GrammarAdvisories, Cve202548887PatternsThatBlowUpAreCheapOrRefused) {
  const InTime in_time;
  const std::string letters(3000, 'a');
  for (const char* pattern : {"(a+)+b", "([a-z]+)*b", "(a|a)*b", "(a|aa)+b", "(.*)(.*)(.*)(.*)b",
                              "(a?){50}a{50}b", "((a*)*)*b", "(a|b|ab)*c"}) {
    const auto grammar = RegexOf(pattern);
    ASSERT_NE(grammar, nullptr) << pattern;
    EXPECT_FALSE(Accepts(grammar, letters)) << pattern;
  }
  for (const char* pattern :
       {"((a{100}){100}){100}", "(a{1,1000}){1000}", "(((a?){99}){99}){99}"}) {
    EXPECT_THAT(RegexError(pattern), HasSubstr("too large")) << pattern;
  }
}

// 20,000 tokens of letters.
std::shared_ptr<const OutputVocabulary> ManyTokens() {
  CounterRng rng(1, 0);
  std::vector<OutputVocabulary::Token> tokens;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (uint64_t n = 1 + rng.NextU64() % 8; n > 0; --n) {
      text += static_cast<char>('a' + rng.NextU64() % 26);
    }
    tokens.push_back({std::move(text), false});
  }
  tokens.push_back({"<end>", true});
  return std::make_shared<OutputVocabulary>(
      tokens, std::vector{TokenId(static_cast<int32_t>(tokens.size()) - 1)});
}

// Every other token leads to another set of thousands of places, so a mask cannot be quick: it is
// refused before others wait for it.
TEST(GrammarAdvisories, Cve202548887MasksOfPatternsThatBlowUpAreRefused) {
  const InTime in_time;
  std::string pattern;
  for (const char* letters : {"aeiou", "a-m", "n-z", "b-y"}) {
    pattern += fmt::format("{}.*[{}].{{900}}{}", pattern.empty() ? "" : "|", letters, letters[0]);
  }
  const auto grammar = OutputGrammar::FromRegex(pattern, ManyTokens());
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;  // it begins well
  OutputMatcher matcher(*grammar);
  std::string error;
  for (int i = 0; i < 100 && error.empty(); ++i) {
    const auto mask = matcher.Mask();
    if (!mask.ok()) error = mask.error().message;
    for (int32_t id = 0; mask.ok() && !matcher.Take(TokenId(id)); ++id) {
    }
  }
  EXPECT_THAT(error, HasSubstr("too ambiguous"));
}

// Parts that may be empty, so that each of 165 places begins with all behind it: found by fuzzing,
// when masks over a small vocabulary took seconds under its sanitizers.
TEST(GrammarAdvisories, RepetitionsOfWhatMayBeEmptyAreCheap) {
  const InTime in_time;
  const auto nothing = [](size_t times) { return std::string(times, '|'); };
  const auto grammar =
      RegexOf("(.z\\*whhhhhhhdh\"$ref\":hhhhhhhhh" + nothing(39) + "." + nothing(88) +
              "hhhhhhhhhhhhhhhhhhh+[eumbev\"!,;]){165}[^\"bolean6]*|.$");
  ASSERT_NE(grammar, nullptr);
  EXPECT_TRUE(Accepts(grammar, std::string(150, 'q') + std::string(2000, 'h')));
}

}  // namespace
}  // namespace millrace
