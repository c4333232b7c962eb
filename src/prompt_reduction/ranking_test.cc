#include "prompt_reduction/ranking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace millrace {
namespace {

using testing::ElementsAre;

TermReader MakeReader() {
  auto reader = TermReader::Create();
  EXPECT_TRUE(reader.ok());
  return std::move(reader).value();
}

std::vector<std::string> TermsOf(std::string_view text) {
  std::vector<std::string> terms;
  MakeReader().Read(text, [&](std::string_view term) { terms.emplace_back(term); });
  return terms;
}

Passage Text(std::string text, std::string title = "") {
  return {.id = "", .title = std::move(title), .text = std::move(text)};
}

TEST(SearchTerms, AreThoseOfFullTextSearch) {
  EXPECT_THAT(TermsOf("Running dogs, RÖNTGEN's rays!"),
              ElementsAre("run", "dog", "rontgen", "s", "rai"));
  EXPECT_THAT(TermsOf(""), ElementsAre());
  EXPECT_THAT(TermsOf("?!.,;\"'()*"), ElementsAre());
}

TEST(SearchTerms, SyntaxAndBrokenBytesAreOnlySeparatorsOrLetters) {
  EXPECT_THAT(TermsOf("\"'); DROP TABLE x; -- NEAR(a b) col:^y*"),
              ElementsAre("drop", "tabl", "x", "near", "a", "b", "col", "y"));
  TermsOf("\xff\xfe\x80 ok \xe2\x82");
  EXPECT_EQ(TermsOf(std::string("one\0two", 7)).size(), 2u);
  EXPECT_EQ(TermsOf(std::string(1'000'000, 'x')).size(), 1u);
}

// Expected scores: a script over the same four texts, by the formula in the header.
TEST(Bm25, ScoresAreThoseOfTheFormula) {
  const std::vector<Passage> passages = {Text("red apple pie"), Text("green apple"),
                                         Text("blue sky over sea", "apple"),
                                         Text("nothing here at all today")};
  TermReader reader = MakeReader();
  const auto ranking =
      RankByBm25(ReadQuestion(reader, "Red apples? A red apple!"), ReadTerms(reader, passages));
  ASSERT_EQ(ranking.size(), 3u);
  EXPECT_EQ(ranking[0].passage, 0u);
  EXPECT_EQ(ranking[1].passage, 1u);
  EXPECT_EQ(ranking[2].passage, 2u);
  EXPECT_NEAR(ranking[0].score, 1.7384430613581117, 1e-12);
  EXPECT_NEAR(ranking[1].score, 0.4483913580944065, 1e-12);
  EXPECT_NEAR(ranking[2].score, 0.42996431598093776, 1e-12);
}

TEST(Bm25, EqualScoresStayInOrderAndNothingIsAnEmptyRanking) {
  const std::vector<Passage> passages = {Text("same words"), Text("other"), Text("same words")};
  TermReader reader = MakeReader();
  const PassageTerms terms = ReadTerms(reader, passages);
  const auto ranking = RankByBm25(ReadQuestion(reader, "same"), terms);
  ASSERT_EQ(ranking.size(), 2u);
  EXPECT_EQ(ranking[0].passage, 0u);
  EXPECT_EQ(ranking[0].score, ranking[1].score);
  EXPECT_TRUE(RankByBm25(ReadQuestion(reader, "absent"), terms).empty());
  EXPECT_TRUE(RankByBm25({}, terms).empty());
  EXPECT_TRUE(RankByBm25(ReadQuestion(reader, "same"), PassageTerms()).empty());
}

TEST(Likeness, IsTheShareOfFiveWordSequences) {
  std::vector<uint64_t> words = {1, 2, 3, 4, 5, 6, 7, 8};  // four sequences
  const auto whole = Shingles(words);
  EXPECT_EQ(whole.size(), 4u);
  EXPECT_EQ(Jaccard(whole, whole), 1.0);
  words.back() = 9;  // three in common, five in all
  EXPECT_EQ(Jaccard(whole, Shingles(words)), 0.6);
  EXPECT_EQ(Shingles(std::vector<uint64_t>{1, 2}).size(), 1u);
  EXPECT_NE(Shingles(std::vector<uint64_t>{1, 2}), Shingles(std::vector<uint64_t>{2, 1}));
  EXPECT_TRUE(Shingles({}).empty());
  EXPECT_EQ(Jaccard({}, {}), 0.0);
}

TEST(Diversity, TakesTheUnlikeBeforeTheLike) {
  const std::vector<RankedPassage> ranking = {{4, 10}, {2, 9}, {7, 8}};
  const std::vector<std::vector<uint64_t>> shingles = {{1, 2}, {1, 2}, {3, 4}};
  const auto order = [](const std::vector<RankedPassage>& ranked) {
    std::vector<size_t> passages;
    for (const auto& r : ranked) passages.push_back(r.passage);
    return passages;
  };
  EXPECT_THAT(order(Diversify(ranking, shingles, 1.0)), ElementsAre(4, 2, 7));
  // 2: 0.5 * 0.9 - 0.5 * 1 = -0.05; 7: 0.5 * 0.8 = 0.4.
  EXPECT_THAT(order(Diversify(ranking, shingles, 0.5)), ElementsAre(4, 7, 2));
  // 2: 0.95 * 0.9 - 0.05 = 0.805; 7: 0.95 * 0.8 = 0.76.
  EXPECT_THAT(order(Diversify(ranking, shingles, 0.95)), ElementsAre(4, 2, 7));
}

}  // namespace
}  // namespace millrace
