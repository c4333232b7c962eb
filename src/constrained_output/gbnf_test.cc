#include "constrained_output/gbnf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "constrained_output/test_support.h"

namespace millrace {
namespace {

using testing::HasSubstr;

TEST(Gbnf, RulesLiteralsClassesAndRepetitions) {
  const auto grammar = GbnfOf(R"(# a greeting
root ::= greeting ", " name punctuation?  # and its end
greeting ::= "hello" | "good " ("day" |
  "evening")
name ::= [A-Z] [a-z]{1,3}
punctuation ::= [!.]+
)");
  EXPECT_TRUE(Accepts(grammar, "hello, Bob"));
  EXPECT_TRUE(Accepts(grammar, "good evening, Anna!!."));
  EXPECT_FALSE(Accepts(grammar, "good night, Anna"));
  EXPECT_FALSE(Accepts(grammar, "hello, B"));
  EXPECT_FALSE(Accepts(grammar, "hello, Roberta"));
}

TEST(Gbnf, EscapesAndUnicode) {
  const auto grammar =
      GbnfOf("root ::= \"\\x41\\n\\t\\\\\\\"\" [^\\u00e4-\\u00ff\\]] \"\\U0001F600\" .");
  EXPECT_TRUE(Accepts(grammar, "A\n\t\\\"x\xF0\x9F\x98\x80\xE2\x82\xAC"));
  EXPECT_FALSE(Accepts(grammar, "A\n\t\\\"]\xF0\x9F\x98\x80y"));
  EXPECT_FALSE(Accepts(grammar, "A\n\t\\\"\xC3\xA4\xF0\x9F\x98\x80y"));  // a umlaut
}

TEST(Gbnf, Recursion) {
  const auto balanced = GbnfOf("root ::= \"(\" root \")\" root | \"\"");
  EXPECT_TRUE(Accepts(balanced, ""));
  EXPECT_TRUE(Accepts(balanced, "(()(()))()"));
  EXPECT_FALSE(Accepts(balanced, "(()"));
  EXPECT_FALSE(Accepts(balanced, "())"));
  const std::string deep(900, '(');
  EXPECT_TRUE(Accepts(balanced, deep + std::string(900, ')')));
  // Past kMaxNesting, another level is refused at once.
  OutputMatcher matcher(balanced);
  EXPECT_FALSE(TakeText(matcher, std::string(1100, '(')));
}

TEST(Gbnf, RightRecursionNeedsNoDepth) {
  const auto list = GbnfOf("root ::= item (\",\" root)?\nitem ::= [0-9]+");
  std::string text = "1";
  for (int i = 0; i < 5000; ++i) text += ",23";
  EXPECT_TRUE(Accepts(list, text));
}

TEST(Gbnf, AmbiguityDoesNotGrowWithTheAnswer) {
  // 2^n readings of n letters.
  const auto grammar =
      GbnfOf("root ::= \"a\" x | \"a\" y\nx ::= root \"p\" | \"z\"\ny ::= root \"q\" | \"z\"");
  std::string text(200, 'a');
  text += "z";
  for (int i = 0; i < 199; ++i) text += i % 3 == 0 ? "p" : "q";
  EXPECT_TRUE(Accepts(grammar, text));
  const auto sums = GbnfOf("root ::= \"x\" tail\ntail ::= \"+x\" tail tail | \"\"");
  std::string sum = "x";
  for (int i = 0; i < 60; ++i) sum += "+x";
  EXPECT_TRUE(Accepts(sums, sum));
}

TEST(Gbnf, EmptyRulesArePassedBy) {
  const auto grammar = GbnfOf("root ::= a b a \"!\"\na ::= b | \"x\"\nb ::= \"\" | \"y\" b");
  EXPECT_TRUE(Accepts(grammar, "!"));
  EXPECT_TRUE(Accepts(grammar, "xyyx!"));
  EXPECT_TRUE(Accepts(grammar, "yyyy!"));
  EXPECT_FALSE(Accepts(grammar, "xxx!"));
}

TEST(Gbnf, WaysThatLeadNowhereAreNotOffered) {
  // `endless` never ends, so what leads to it is no beginning of an answer.
  const auto grammar = GbnfOf("root ::= \"a\" endless | \"ab\"\nendless ::= \"b\" endless");
  OutputMatcher matcher(grammar);
  ASSERT_TRUE(TakeText(matcher, "ab"));
  EXPECT_TRUE(matcher.IsFinished());
}

TEST(Gbnf, BadGrammarsSayWhatIsWrong) {
  EXPECT_THAT(GbnfError(""), HasSubstr("no rule 'root'"));
  EXPECT_THAT(GbnfError("root ::= a"), HasSubstr("'a' in line 1"));
  EXPECT_THAT(GbnfError("root ::= \"a\"\nroot ::= \"b\""), HasSubstr("twice (line 2)"));
  EXPECT_THAT(GbnfError("root = \"a\""), HasSubstr("lacks '::='"));
  EXPECT_THAT(GbnfError("root ::= \"a"), HasSubstr("ends within a literal"));
  EXPECT_THAT(GbnfError("root ::= [a"), HasSubstr("ends within a literal or a character class"));
  EXPECT_THAT(GbnfError("root ::= (\"a\""), HasSubstr("without its ')'"));
  EXPECT_THAT(GbnfError("root ::= \"a\")"), HasSubstr("no part of a rule begins"));
  EXPECT_THAT(GbnfError("root ::= * \"a\""), HasSubstr("nothing to repeat"));
  EXPECT_THAT(GbnfError("root ::= \"a\"{3,2}"), HasSubstr("{m,n}"));
  EXPECT_THAT(GbnfError("root ::= \"\\q\""), HasSubstr("unknown escape"));
  EXPECT_THAT(GbnfError("root ::= \"\\ud800\""), HasSubstr("number of a character"));
  EXPECT_THAT(GbnfError("root ::= [z-a]"), HasSubstr("not in order"));
  EXPECT_THAT(GbnfError("root ::= \"\xFF\""), HasSubstr("UTF-8"));
  EXPECT_THAT(GbnfError("root ::= root \"a\" | \"b\""), HasSubstr("'root' can begin with itself"));
  EXPECT_THAT(GbnfError("root ::= e a\ne ::= \"x\"?\na ::= b\nb ::= e a | \"y\""),
              HasSubstr("can begin with itself"));
  EXPECT_THAT(GbnfError("root ::= \"a\" root"), HasSubstr("matches no text"));
}

TEST(Gbnf, HostileGrammarsAreRefused) {
  EXPECT_THAT(GbnfError("root ::= " + std::string(60'000, '(')),
              HasSubstr("nests deeper than 200"));
  EXPECT_THAT(GbnfError("root ::= \"a\"" + std::string(60'000, '*')), HasSubstr("use a group"));
  EXPECT_THAT(GbnfError("root ::= ((((\"ab\"{30000}){30000}){30000}){30000})"),
              HasSubstr("too large"));
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 3000; ++i) chain += fmt::format("r{} ::= r{}?\n", i, i + 1);
  EXPECT_EQ(GbnfError(chain + "r3000 ::= \"a\""), "");
  std::string loop = "root ::= r0\n";
  for (int i = 0; i < 3000; ++i) loop += fmt::format("r{} ::= r{}\n", i, i + 1);
  EXPECT_THAT(GbnfError(loop + "r3000 ::= r0 | \"a\""), HasSubstr("can begin with itself"));
}

}  // namespace
}  // namespace millrace
