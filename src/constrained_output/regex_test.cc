#include "constrained_output/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "base/rng.h"
#include "constrained_output/test_support.h"

namespace millrace {
namespace {

using testing::HasSubstr;

TEST(Regex, MatchesWhole) {
  EXPECT_TRUE(Accepts(RegexOf("a|bc*"), "a"));
  EXPECT_TRUE(Accepts(RegexOf("a|bc*"), "bccc"));
  EXPECT_FALSE(Accepts(RegexOf("a|bc*"), "ab"));
  EXPECT_FALSE(Accepts(RegexOf("a|bc*"), ""));
  EXPECT_TRUE(Accepts(RegexOf(""), ""));
  EXPECT_TRUE(Accepts(RegexOf("(?:ab){2,3}"), "ababab"));
  EXPECT_FALSE(Accepts(RegexOf("(?:ab){2,3}"), "abababab"));
  EXPECT_TRUE(Accepts(RegexOf("(?<year>\\d{4})-\\d\\d"), "2026-11"));
}

TEST(Regex, AnchorsCountWhereverTheyStand) {
  EXPECT_TRUE(Accepts(RegexOf("^ab$"), "ab"));
  EXPECT_TRUE(Accepts(RegexOf("(^a|b)c"), "ac"));
  EXPECT_FALSE(Accepts(RegexOf("a^c|b"), "ac"));
  EXPECT_FALSE(Accepts(RegexOf("x$a|b"), "xa"));
  EXPECT_TRUE(Accepts(RegexOf("$^|b"), ""));
  EXPECT_TRUE(Accepts(RegexOf("$^|b"), "b"));
  EXPECT_FALSE(Accepts(RegexOf("$a|b"), "a"));
}

TEST(Regex, CharactersAreUnicode) {
  EXPECT_TRUE(Accepts(RegexOf("."), "\xE2\x82\xAC"));  // the euro sign
  EXPECT_FALSE(Accepts(RegexOf("."), "\n"));
  EXPECT_TRUE(Accepts(RegexOf("[^a]"), "\xF0\x9F\x98\x80"));
  EXPECT_FALSE(Accepts(RegexOf("[^a]"), "\xC3"));
  EXPECT_TRUE(Accepts(RegexOf("[\\u{1F600}-\\u{1F64F}]"), "\xF0\x9F\x98\x80"));
  EXPECT_TRUE(Accepts(RegexOf("\\uD83D\\uDE00"), "\xF0\x9F\x98\x80"));
  EXPECT_FALSE(Accepts(RegexOf("[\\u{1F600}-\\u{1F64F}]"), "\xF0\x9F\x99\x90"));  // U+1F650
}

TEST(Regex, AllUtf8OfARangeAndNoOther) {
  const auto grammar = RegexOf("[\\u{7f0}-\\u{10010}]");
  for (uint32_t c = 0x700; c < 0x10100; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    if (c < 0x800) {
      text = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      text = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
    } else {
      text = {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    }
    ASSERT_EQ(Accepts(grammar, text), c >= 0x7f0 && c <= 0x10010) << std::hex << c;
  }
  EXPECT_FALSE(Accepts(grammar, "\xED\xA0\x80"));  // a surrogate
}

// Random patterns over {a, b} against std::regex, on all texts of up to 6 letters.
std::string RandomPattern(CounterRng& rng, int depth) {
  const uint64_t kind = depth == 0 ? rng.NextU64() % 2 : rng.NextU64() % 8;
  const auto inner = [&] { return RandomPattern(rng, depth - 1); };
  switch (kind) {
    case 0:
      return "a";
    case 1:
      return "b";
    case 2:
      return "(" + inner() + "|" + inner() + ")";
    case 3:
      return inner() + inner();
    case 4:
      return "(" + inner() + ")*";
    case 5:
      return "(" + inner() + ")?";
    case 6:
      return "(" + inner() + "){1,2}";
    default:
      return "[ab]" + inner();
  }
}

TEST(Regex, AgreesWithTheStandardLibrary) {
  CounterRng rng(1, 2);
  for (int round = 0; round < 200; ++round) {
    const std::string pattern = RandomPattern(rng, 4);
    const std::regex expected(pattern);
    const auto grammar = RegexOf(pattern);
    for (size_t length = 0; length <= 6; ++length) {
      for (uint32_t bits = 0; bits < 1u << length; ++bits) {
        std::string text;
        for (size_t i = 0; i < length; ++i) text += (bits >> i & 1) != 0 ? 'b' : 'a';
        ASSERT_EQ(Accepts(grammar, text), std::regex_match(text, expected))
            << pattern << " on '" << text << "'";
      }
    }
  }
}

TEST(Regex, BadPatternsSayWhatIsWrong) {
  EXPECT_THAT(RegexError("(a"), HasSubstr("'(' without its ')'"));
  EXPECT_THAT(RegexError("a)"), HasSubstr("')' without its '('"));
  EXPECT_THAT(RegexError("[a"), HasSubstr("'[' without its ']'"));
  EXPECT_THAT(RegexError("[b-a]"), HasSubstr("in order"));
  EXPECT_THAT(RegexError("*a"), HasSubstr("nothing to repeat"));
  EXPECT_THAT(RegexError("a**"), HasSubstr("repeats a repetition"));
  EXPECT_THAT(RegexError("a{2,1}"), HasSubstr("no repetition"));
  EXPECT_THAT(RegexError("a{99999}"), HasSubstr("30000"));
  EXPECT_THAT(RegexError("(?=a)"), HasSubstr("not supported"));
  EXPECT_THAT(RegexError("(?<!a)b"), HasSubstr("not supported"));
  EXPECT_THAT(RegexError("(a)\\1"), HasSubstr("'\\1', which is not supported"));
  EXPECT_THAT(RegexError("\\bword"), HasSubstr("'\\b'"));
  EXPECT_THAT(RegexError("\\p{L}"), HasSubstr("'\\p'"));
  EXPECT_THAT(RegexError("a\\"), HasSubstr("lone '\\'"));
  EXPECT_THAT(RegexError("\\u{110000}"), HasSubstr("no character"));
  EXPECT_THAT(RegexError("\xFF"), HasSubstr("UTF-8"));
  EXPECT_THAT(RegexError("[]"), HasSubstr("matches no text"));
  EXPECT_THAT(RegexError("a^b"), HasSubstr("matches no text"));
}

TEST(Regex, HostilePatternsAreRefusedOrCheap) {
  EXPECT_THAT(RegexError(std::string(30'000, '(') + std::string(30'000, ')')),
              HasSubstr("nests deeper than 200"));
  EXPECT_THAT(RegexError("(((((a{1000}){1000}){1000}){1000}){1000})"), HasSubstr("too large"));
  std::string optional;
  for (int i = 0; i < 20'000; ++i) optional += "a?";
  EXPECT_THAT(RegexError(optional), HasSubstr("too large"));
  // Exponential for a matcher that backtracks, and for the subset construction in advance.
  EXPECT_FALSE(Accepts(RegexOf("(a|aa)*b"), std::string(5000, 'a')));
  EXPECT_FALSE(Accepts(RegexOf("(a*)*b"), std::string(5000, 'a')));
  EXPECT_TRUE(Accepts(RegexOf("(a|b)*a(a|b){200}"), std::string(5000, 'a')));
  EXPECT_THAT(RegexError(std::string(70'000, 'a')), HasSubstr("at most 65536"));
}

}  // namespace
}  // namespace millrace
