#include "prompt_reduction/sentence_chunks.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

namespace millrace {
namespace {

std::vector<std::string> Chunks(const std::string& text, size_t target) {
  std::vector<std::string> chunks;
  for (const TextSpan& s : ChunkAtSentences(text, target)) {
    chunks.push_back(text.substr(s.begin, s.end - s.begin));
  }
  return chunks;
}

// The header's invariant.
void ExpectSound(const std::string& text, size_t target) {
  size_t at = 0;
  const auto only_space = [&](size_t begin, size_t end) {
    return text.substr(begin, end - begin).find_first_not_of(" \t\r\n\v\f") == std::string::npos;
  };
  for (const TextSpan& s : ChunkAtSentences(text, target)) {
    ASSERT_LE(at, s.begin);
    ASSERT_LT(s.begin, s.end);
    ASSERT_TRUE(only_space(at, s.begin));
    ASSERT_LE(EstimateTokens(text.substr(s.begin, s.end - s.begin)), 2 * target);
    at = s.end;
  }
  ASSERT_LE(at, text.size());
  ASSERT_TRUE(only_space(at, text.size()));
}

TEST(SentenceChunks, TokensAreEstimatedByBytes) {
  EXPECT_EQ(EstimateTokens(""), 0u);
  EXPECT_EQ(EstimateTokens("abcd"), 1u);
  EXPECT_EQ(EstimateTokens("abcde"), 2u);
  EXPECT_EQ(EstimateTokens("жжжж"), 2u);      // two to a token
  EXPECT_EQ(EstimateTokens("日本語"), 2u);    // one and a half
  EXPECT_EQ(EstimateTokens("\x80\x80"), 1u);  // any bytes
}

TEST(SentenceChunks, EndsAreThoseOfSentences) {
  // 17 characters a sentence and its space: 4.25 tokens; two fit into 9.
  EXPECT_EQ(Chunks("A cat sat there. A dog ran there. A cow ate grass.", 9),
            (std::vector<std::string>{"A cat sat there. A dog ran there.", "A cow ate grass."}));
  // No end at a number's point or a letter in lower case behind one; "?!" and quotes belong to it.
  EXPECT_EQ(
      Chunks("It costs 3.50 for us, e.g. today. \"Why so?!\" He laughed.", 9),
      (std::vector<std::string>{"It costs 3.50 for us, e.g. today.", "\"Why so?!\" He laughed."}));
}

TEST(SentenceChunks, OtherLanguagesHaveSentencesToo) {
  EXPECT_EQ(Chunks("私は猫です。名前はまだ無い。どこで生れたか。", 5),
            (std::vector<std::string>{"私は猫です。", "名前はまだ無い。", "どこで生れたか。"}));
  EXPECT_EQ(Chunks("यह एक वाक्य है। यह दूसरा वाक्य है।", 9),
            (std::vector<std::string>{"यह एक वाक्य है।", "यह दूसरा वाक्य है।"}));
}

TEST(SentenceChunks, ALongSentenceIsCutBetweenWordsAndALongWordBetweenCharacters) {
  std::string words;
  for (int i = 0; i < 100; ++i) words += "word ";
  for (const std::string& chunk : Chunks(words, 8)) {
    EXPECT_EQ(chunk.substr(0, 4), "word");
    EXPECT_EQ(chunk.substr(chunk.size() - 4), "word");
    EXPECT_LE(chunk.size(), 64u);
  }
  std::string character_run;
  for (int i = 0; i < 100; ++i) character_run += "語";
  for (const std::string& chunk : Chunks(character_run, 8)) {
    EXPECT_EQ(chunk.size() % 3, 0u);
    EXPECT_EQ(chunk.substr(0, 3), "語");
  }
  ExpectSound(words, 8);
  ExpectSound(character_run, 8);
}

TEST(SentenceChunks, NothingInNothingOut) {
  EXPECT_TRUE(ChunkAtSentences("").empty());
  EXPECT_TRUE(ChunkAtSentences(" \n\t ").empty());
}

TEST(SentenceChunks, AnyBytesKeepTheInvariant) {
  std::mt19937_64 random(5);
  const std::string pieces[] = {
      "a",    "Word ", ". ",   "! ",   "\n\n",     "é",    "語",
      "。",   "😀",     "\x80", "\xff", "\xe2\x82", "\xf0", std::string(1, '\0'),
      "     "};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const size_t length = random() % 400;
    const size_t kinds = 1 + random() % std::size(pieces);
    for (size_t i = 0; i < length; ++i) text += pieces[random() % kinds];
    ExpectSound(text, 4 + random() % 30);
  }
  ExpectSound(std::string(100'000, '\x80'), 4);
  ExpectSound("x" + std::string(100'000, '\xbf'), 200);
  ExpectSound(std::string(100'000, '.'), 200);
}

TEST(SentenceChunks, TenMegabytesWithoutAnEndTakeLinearTime) {
  const auto seconds = [](size_t bytes) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_GT(ChunkAtSentences(std::string(bytes, 'x')).size(), bytes / 2000);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const double small = seconds(1'000'000);
  EXPECT_LT(seconds(10'000'000), 60 * small + 1.0);  // quadratic would be a hundred times
}

}  // namespace
}  // namespace millrace
