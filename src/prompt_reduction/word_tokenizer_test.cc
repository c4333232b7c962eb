#include "prompt_reduction/word_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "prompt_reduction/reduce.h"
#include "prompt_reduction/search_terms.h"

namespace millrace {
namespace {

using testing::ElementsAre;

std::vector<std::string> WordsOf(std::string_view text) {
  std::vector<std::string> words;
  TermReader reader = TermReader::Create().value();
  reader.ReadWithSource(text, [&](std::string_view term, std::string_view source) {
    words.emplace_back(term);
    EXPECT_NE(text.find(source), std::string_view::npos);
  });
  return words;
}

TEST(WordTokenizer, UnspacedScriptsAreReadByPairs) {
  EXPECT_THAT(WordsOf("東京の市長"), ElementsAre("東京", "京の", "の市", "市長"));
  EXPECT_THAT(WordsOf("水"), ElementsAre("水"));
  EXPECT_THAT(WordsOf("서울은 크다"), ElementsAre("서울", "울은", "크다"));
  EXPECT_THAT(WordsOf("ナントカー。"), ElementsAre("ナン", "ント", "トカ", "カー"));
  EXPECT_THAT(WordsOf("𠮷野家"), ElementsAre("𠮷野", "野家"));
}

TEST(WordTokenizer, OthersAreReadAsBefore) {
  EXPECT_THAT(WordsOf("Running dogs, RÖNTGEN"), ElementsAre("run", "dog", "rontgen"));
  EXPECT_THAT(WordsOf("Москва Ёлка ελληνικά"), testing::SizeIs(3));
  EXPECT_THAT(WordsOf("LINUX東京Servers"), ElementsAre("linux", "東京", "server"));
  EXPECT_THAT(WordsOf("ｆｕｌｌ"), testing::SizeIs(1));  // three bytes a letter, and spaced
}

TEST(WordTokenizer, BrokenBytesEndSomewhere) {
  WordsOf("\xe6\x9d\xb1\xe4\xba");
  WordsOf("\xe6\x9d\xff\xe4\xba\xac\xf0\xa0");
  std::string garbage;
  for (int i = 0; i < 5000; ++i) garbage += static_cast<char>(0x80 + (i * 37) % 128);
  WordsOf(garbage);
}

// Bytes that continue no character are letters to FTS5 where they are read on their own, and longer
// as UTF-8 (each "\xb5" is two bytes of a small mu), so that this word's piece needs more of the
// tokenizer's buffer than the word did. A tokenizer that reads pieces while it reads words would
// give the buffer away under the words behind: they would come out as others, or not at all.
TEST(WordTokenizer, APieceThatOutgrowsItsWordLeavesTheWordsBehindItWhole) {
  const std::string broken = "\xe3\x81\x82" + std::string(98, '\xb5');
  const std::string plain(70, 'b');
  std::string piece;
  for (int i = 0; i < 98; ++i) piece += "\xce\xbc";
  EXPECT_THAT(WordsOf(broken + " " + plain + " dogs " + plain),
              ElementsAre("\xe3\x81\x82", piece, plain, "dog", plain));
}

TEST(WordTokenizer, QuestionsWithoutSpacesFindTheirPassage) {
  std::vector<Passage> passages;
  const char* texts[] = {"大阪は大きな都市です。大阪の市長は田中です。",
                         "東京は日本の首都です。東京の市長は鈴木です。",
                         "天気は晴れです。明日は雨でしょう。", "りんごは赤い果物です。"};
  for (const char* text : texts)
    passages.push_back({.id = std::to_string(passages.size()), .title = "", .text = text});
  ReductionConfig config;
  config.least = 1;
  const auto reduced = ReducePrompt("東京の市長は誰ですか", passages, config,
                                    [](auto text) { return static_cast<int64_t>(text.size()); });
  ASSERT_FALSE(reduced->kept.empty());
  EXPECT_LT(reduced->kept.size(), 3u);
  bool best = false;
  for (const JudgedPassage& kept : reduced->kept)
    best = best || (kept.passage.id == "1" && kept.fate == PassageFate::kBest);
  EXPECT_TRUE(best);
}

}  // namespace
}  // namespace millrace
