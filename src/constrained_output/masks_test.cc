// Masks against an independent matcher: a token is allowed exactly where some whole text goes on
// with it, checked for all answers over small vocabularies.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "constrained_output/test_support.h"
#include "constrained_output/token_trie.h"

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

// Tokens of whole characters, parts of characters, what ends a string, and bytes that are no text.
std::vector<std::string> TokensOfManyKinds() {
  std::vector<std::string> tokens;
  for (int byte = 1; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"ab",
                           "abc",
                           "abcd",
                           "abcdefgh",
                           "\u00e9",
                           "a\u00e9b",
                           "\u65e5\u672c",
                           "\u65e5\u672c\u8a9e",
                           "\U0001F600",
                           "\U0001F600\U0001F601",
                           "x\"",
                           "ab\"",
                           "\u00e9\"",
                           "a\\",
                           "a\n",
                           "\xE6\x97",
                           "\xE6\x97\xA5\xE6",
                           "\x97\xA5",
                           "a\xC3",
                           "\xA9z",
                           "\xED\xA0\x80",
                           "\xC0\x80",
                           "\xF4\x90\x80\x80",
                           "\xF0\x9F",
                           "ab\x7F",
                           "q\"q",
                           "  ",
                           "    ",
                           "        "}) {
    tokens.emplace_back(text);
  }
  return tokens;
}

TEST(Masks, TokensOfPlainCharactersAreTakenTogether) {
  std::vector<std::string> tokens = TokensOfManyKinds();
  const size_t kinds = tokens.size();
  for (int i = 0; i < 30 * 30 * 30; ++i) {  // only in a large vocabulary: see kLargeTrie
    std::string three;
    for (const int letter : {i / 900, i / 30 % 30, i % 30})
      three += static_cast<char>('A' + letter);  // to ^, so with a backslash, too
    tokens.push_back(three);
  }
  const auto vocabulary = MakeVocabulary(tokens);
  CounterRng rng(7, 8);
  for (const char* text : {
           "root ::= \"\\\"\" [^\"\\\\\\x00-\\x1F]{0,9} \"\\\"\"",
           "root ::= \"\\\"\" [^\"\\\\\\x00-\\x1F]{3,5} \"\\\"\" | [^\"]{2,4} \"\\\"\"",
           "root ::= [^\"\\\\\\x00-\\x1F]{2,6}",                     // whole before its end
           "root ::= \"\\\"\" [^\"\\\\\\x00-\\x1Fc]{0,9} \"\\\"\"",  // all but one
           "root ::= word \"ABC\" word\nword ::= [^\"\\\\\\x00-\\x1F]{0,4}",
           "root ::= item+\nitem ::= \"\\\"\" [^\"\\\\\\x00-\\x1F]* \"\\\"\"",
       }) {
    const auto grammar = OutputGrammar::FromGbnf(text, vocabulary);
    ASSERT_TRUE(grammar.ok()) << grammar.error().message << text;
    for (int round = 0; round < 20; ++round) {
      OutputMatcher matcher(*grammar);
      for (int step = 0; step < 12 && !matcher.IsFinished(); ++step) {
        const auto mask = matcher.Mask();
        if (!mask.ok()) break;  // a part of a character that no token goes on
        std::vector<TokenId> allowed;
        for (size_t i = 0; i < tokens.size(); i += i < kinds ? 1 : 1 + rng.NextU64() % 50) {
          const TokenId token(static_cast<int32_t>(i));
          OutputMatcher next = matcher;
          ASSERT_EQ((*mask)->Allows(token), next.Take(token)) << tokens[i] << " in " << text;
          if ((*mask)->Allows(token)) allowed.push_back(token);
        }
        if (allowed.empty()) break;
        ASSERT_TRUE(matcher.Take(allowed[rng.NextU64() % allowed.size()]));
      }
    }
  }
}

TEST(TokenTrie, PlainCharacters) {
  const std::vector<std::string> tokens = TokensOfManyKinds();
  std::vector<std::pair<std::string, int32_t>> pairs;
  for (size_t i = 0; i < tokens.size(); ++i) pairs.emplace_back(tokens[i], int32_t(i));
  const constrained_internal::TokenTrie trie(pairs);
  std::string path;
  const auto of = [&](const std::string& wanted) -> int {
    for (size_t i = 0; i < trie.nodes().size(); ++i) {
      path.resize(trie.nodes()[i].depth);
      path += static_cast<char>(trie.nodes()[i].byte);
      if (path == wanted) return trie.nodes()[i].plain_characters;
    }
    return -1;
  };
  EXPECT_EQ(of("b"), 1);
  EXPECT_EQ(of("a"), 0);    // also begins "a\n", and a part of a character
  EXPECT_EQ(of("ab"), 0);   // ab", and DEL
  EXPECT_EQ(of("abc"), 6);  // c to h
  EXPECT_EQ(of(" "), 8);
  EXPECT_EQ(of("q"), 0);
  EXPECT_EQ(of("\n"), 0);
  EXPECT_EQ(of("\xE6"), 0);  // its own token is a part of a character
  EXPECT_EQ(of("\xED"), 0);
  EXPECT_EQ(of("\xF4"), 0);
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
