// Masks against an independent matcher: a token is allowed exactly where some whole text goes on
// with it, checked for all answers over small vocabularies.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "constrained_output/test_support.h"

namespace millrace {
namespace {

// A context-free grammar in plain form: rules are lists of alternatives; an alternative is a list
// of symbols: a letter, or a rule by its number. What texts it has is found by brute force.
struct PlainGrammar {
  struct Symbol {
    char letter = 0;
    int rule = -1;
  };
  std::vector<std::vector<std::vector<Symbol>>> rules;

  std::string ToGbnf() const {
    std::string text;
    for (size_t r = 0; r < rules.size(); ++r) {
      text += (r == 0 ? std::string("root") : "r" + std::to_string(r)) + " ::= ";
      for (size_t a = 0; a < rules[r].size(); ++a) {
        if (a > 0) text += " | ";
        if (rules[r][a].empty()) text += "\"\"";
        for (const Symbol& symbol : rules[r][a]) {
          if (symbol.rule < 0) {
            text += std::string("\"") + symbol.letter + "\" ";
          } else {
            text +=
                (symbol.rule == 0 ? std::string("root") : "r" + std::to_string(symbol.rule)) + " ";
          }
        }
      }
      text += "\n";
    }
    return text;
  }

  using Texts = std::set<std::string>;

  // Of each rule: its texts of up to `longest` letters, and the beginnings of its texts, of any
  // length, of up to so many: a fixed point over sets of texts.
  struct Language {
    Texts texts, beginnings;
    bool has_text = false;
  };
  Language Solve(size_t longest) const {
    std::vector<Language> found(rules.size());
    for (bool grew = true; grew;) {
      grew = false;
      for (size_t r = 0; r < rules.size(); ++r) {
        for (const auto& alternative : rules[r]) {
          const Language made = Of(alternative, found, longest);
          if (!made.has_text) continue;
          grew |= !std::exchange(found[r].has_text, true);
          for (const std::string& text : made.texts) grew |= found[r].texts.insert(text).second;
          for (const std::string& text : made.beginnings) {
            grew |= found[r].beginnings.insert(text).second;
          }
        }
      }
    }
    return found[0];
  }

  static Language Of(const std::vector<Symbol>& alternative, const std::vector<Language>& found,
                     size_t longest) {
    Language made{.texts = {""}, .beginnings = {""}, .has_text = true};
    for (const Symbol& symbol : alternative) {
      const std::string letter(1, symbol.letter);
      const Language next = symbol.rule < 0 ? Language{{letter}, {"", letter}, true}
                                            : found[static_cast<size_t>(symbol.rule)];
      made.has_text &= next.has_text;
      for (const std::string& text : Joined(made.texts, next.beginnings, longest)) {
        made.beginnings.insert(text);
      }
      made.texts = Joined(made.texts, next.texts, longest);
    }
    return made;
  }

  static Texts Joined(const Texts& first, const Texts& second, size_t longest) {
    Texts joined;
    for (const std::string& a : first) {
      for (const std::string& b : second) {
        if (a.size() + b.size() <= longest) joined.insert(a + b);
      }
    }
    return joined;
  }
};

PlainGrammar RandomGrammar(CounterRng& rng) {
  PlainGrammar grammar;
  const size_t rules = 1 + rng.NextU64() % 4;
  for (size_t r = 0; r < rules; ++r) {
    std::vector<std::vector<PlainGrammar::Symbol>> alternatives(1 + rng.NextU64() % 3);
    for (auto& alternative : alternatives) {
      const size_t length = rng.NextU64() % 4;
      for (size_t i = 0; i < length; ++i) {
        PlainGrammar::Symbol symbol;
        if (rng.NextU64() % 2 == 0) {
          symbol.rule = static_cast<int>(rng.NextU64() % rules);
        } else {
          symbol.letter = rng.NextU64() % 2 == 0 ? 'a' : 'b';
        }
        alternative.push_back(symbol);
      }
    }
    grammar.rules.push_back(std::move(alternatives));
  }
  return grammar;
}

// Follows all answers of up to `left` letters.
void CompareAll(const OutputMatcher& matcher, const std::vector<std::string>& tokens,
                const PlainGrammar::Language& language, const std::string& answer, size_t left,
                int& compared) {
  OutputMatcher here = matcher;
  const bool whole = language.texts.contains(answer);
  ASSERT_EQ(here.IsWhole(), whole) << "'" << answer << "'";
  const auto mask = here.Mask();
  const TokenId end(static_cast<int32_t>(tokens.size()));
  ASSERT_EQ(mask.ok() && (*mask)->Allows(end), whole) << "'" << answer << "'";
  for (size_t i = 0; i < tokens.size(); ++i) {
    const TokenId token(static_cast<int32_t>(i));
    if (tokens[i].size() > left) continue;
    const bool expected = language.beginnings.contains(answer + tokens[i]);
    ASSERT_EQ(mask.ok() && (*mask)->Allows(token), expected)
        << "'" << answer << "' + '" << tokens[i] << "'";
    OutputMatcher next = here;
    ASSERT_EQ(next.Take(token), expected);
    ++compared;
    if (!expected) continue;
    CompareAll(next, tokens, language, answer + tokens[i], left - tokens[i].size(), compared);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Masks, AllowExactlyWhatTheGrammarDoes) {
  const std::vector<std::string> tokens = {"a", "b", "ab", "ba", "aa", "abb", "baba", "bbb"};
  const auto vocabulary = MakeVocabulary(tokens);
  CounterRng rng(3, 4);
  int compared = 0, grammars = 0;
  for (int round = 0; round < 4000; ++round) {
    const PlainGrammar plain = RandomGrammar(rng);
    const PlainGrammar::Language language = plain.Solve(6);
    const auto grammar = OutputGrammar::FromGbnf(plain.ToGbnf(), vocabulary);
    if (!grammar.ok()) {
      const std::string& message = grammar.error().message;
      const bool is_recursive = message.find("begin with itself") != message.npos;
      const bool is_empty = message.find("no text at all") != message.npos;
      ASSERT_TRUE(is_recursive || (is_empty && !language.has_text)) << message << plain.ToGbnf();
      continue;
    }
    ++grammars;
    CompareAll(OutputMatcher(*grammar), tokens, language, "", 6, compared);
    ASSERT_FALSE(HasFatalFailure()) << plain.ToGbnf();
  }
  EXPECT_GT(grammars, 1000);
  EXPECT_GT(compared, 100'000);
}

TEST(Masks, WideStatesArePutTogetherFromParts) {
  // Strings in lists: tokens that end a string and go on behind it, in several places.
  std::vector<std::string> tokens;
  for (int byte = 0x20; byte < 0x7F; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"ab\"", "\",", "\",\"", "x\"]", "\"]]", "\"],[\"q", "[\"", "[[", "]]",
                           "abc", "a,b", "\"\"", ",\"a\",\"b\""}) {
    tokens.emplace_back(text);
  }
  const auto vocabulary = MakeVocabulary(tokens);
  const auto grammar = OutputGrammar::FromGbnf(
      "root ::= list\nlist ::= \"[\" (item (\",\" item)*)? \"]\"\nitem ::= list | "
      "\"\\\"\" [^\"]{0,9} \"\\\"\" | \"\\\"\" [^\"0-9]* \"\\\"\"",
      vocabulary);
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  CounterRng rng(5, 6);
  for (int round = 0; round < 300; ++round) {
    OutputMatcher matcher(*grammar);
    for (int step = 0; step < 40 && !matcher.IsFinished(); ++step) {
      const auto mask = matcher.Mask();
      ASSERT_TRUE(mask.ok());
      std::vector<TokenId> allowed;
      for (size_t i = 0; i < tokens.size(); ++i) {
        const TokenId token(static_cast<int32_t>(i));
        OutputMatcher next = matcher;
        ASSERT_EQ((*mask)->Allows(token), next.Take(token)) << tokens[i];
        if ((*mask)->Allows(token)) allowed.push_back(token);
      }
      ASSERT_FALSE(allowed.empty());
      ASSERT_TRUE(matcher.Take(allowed[rng.NextU64() % allowed.size()]));
    }
  }
}

TEST(Masks, ControlTokensMatchNoText) {
  std::vector<OutputVocabulary::Token> tokens = {{"<", false},  {"x", false},    {">", false},
                                                 {"<x>", true}, {"<end>", true}, {"", false}};
  const auto vocabulary = std::make_shared<OutputVocabulary>(tokens, std::vector{TokenId(4)});
  const auto grammar = OutputGrammar::FromGbnf("root ::= .{1,3}", vocabulary);
  ASSERT_TRUE(grammar.ok());
  const auto mask = OutputMatcher(*grammar).Mask();
  ASSERT_TRUE(mask.ok());
  EXPECT_TRUE((*mask)->Allows(TokenId(0)));
  EXPECT_FALSE((*mask)->Allows(TokenId(3)));  // a control token
  EXPECT_FALSE((*mask)->Allows(TokenId(4)));  // the end: the text is not whole
  EXPECT_FALSE((*mask)->Allows(TokenId(5)));  // no bytes
}

TEST(Masks, AnErrorWhereTheVocabularyCannotGoOn) {
  const auto vocabulary = MakeVocabulary({"a"});
  const auto grammar = OutputGrammar::FromGbnf("root ::= \"ab\"", vocabulary);
  ASSERT_TRUE(grammar.ok());
  OutputMatcher matcher(*grammar);
  EXPECT_TRUE(matcher.Mask().ok());
  ASSERT_TRUE(matcher.Take(TokenId(0)));
  EXPECT_FALSE(matcher.Mask().ok());
}

TEST(Masks, CopiesGoTheirOwnWay) {
  const auto grammar = GbnfOf("root ::= \"ab\" | \"ac\"");
  OutputMatcher matcher(grammar);
  ASSERT_TRUE(TakeText(matcher, "a"));
  OutputMatcher copy = matcher;
  EXPECT_TRUE(TakeText(copy, "b"));
  EXPECT_TRUE(copy.IsFinished());
  EXPECT_FALSE(matcher.IsFinished());
  EXPECT_TRUE(TakeText(matcher, "c"));
  EXPECT_FALSE(matcher.Take(TokenId('c')));
  EXPECT_FALSE(matcher.Take(TokenId(-1)));
  EXPECT_FALSE(matcher.Take(TokenId(100'000)));
  EXPECT_TRUE(matcher.Take(TokenId(256)));  // the end token
}

}  // namespace
}  // namespace millrace
