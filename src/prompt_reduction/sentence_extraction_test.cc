#include "prompt_reduction/sentence_extraction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "prompt_reduction/reduce.h"
#include "prompt_reduction/sentence_chunks.h"

namespace millrace {
namespace {

constexpr char kText[] =
    "The sea is blue. Kelmora is a port. Its mayor is Anna Brick. It has ten ships. Rain falls.";

std::string Extracted(std::string text, std::string_view question, double ratio = 0.5) {
  TermReader reader = TermReader::Create().value();
  Passage passage = {.id = "", .title = "", .text = text, .document = 0, .begin = 7};
  Passage* const passages[] = {&passage};
  ExtractSentences(reader, question, ratio, passages);
  EXPECT_EQ(text.substr(passage.begin - 7, passage.text.size()), passage.text);
  return passage.text;
}

TEST(Sentences, AreUnicodesAndTrimmed) {
  const std::string text = " One here. Two there!  三つ目です。四つ。";
  std::vector<std::string> sentences;
  for (const TextSpan& s : Sentences(text))
    sentences.push_back(text.substr(s.begin, s.end - s.begin));
  EXPECT_THAT(sentences, testing::ElementsAre("One here.", "Two there!", "三つ目です。", "四つ。"));
  EXPECT_TRUE(Sentences("").empty());
  EXPECT_TRUE(Sentences(" \n").empty());
  EXPECT_EQ(Sentences(std::string(100'000, '.')).size(), 1u);
}

TEST(ExtractSentences, KeepsTheRunAndTheSentenceBefore) {
  EXPECT_EQ(Extracted(kText, "Who is the mayor of Kelmora?"),
            "The sea is blue. Kelmora is a port. Its mayor is Anna Brick.");
  EXPECT_EQ(Extracted(kText, "ships"), "Its mayor is Anna Brick. It has ten ships.");
  EXPECT_EQ(Extracted(kText, "sea"), "The sea is blue.");
  EXPECT_EQ(Extracted(kText, "sea rain"), kText);
}

TEST(ExtractSentences, WithoutAWordOfTheQuestionAllStays) {
  EXPECT_EQ(Extracted(kText, "zebra"), kText);
  EXPECT_EQ(Extracted(kText, ""), kText);
  EXPECT_EQ(Extracted("", "sea"), "");
  EXPECT_EQ(Extracted("no end here", "end"), "no end here");
}

TEST(ExtractSentences, IsAnOptionOfReduction) {
  const std::vector<Passage> documents = {
      {.id = "a", .title = "", .text = kText},
      {.id = "b", .title = "", .text = "Trask is a town. Nobody knows its mayor."}};
  ReductionConfig config;
  const auto count = [](std::string_view text) { return static_cast<int64_t>(text.size()); };
  const auto whole = ReducePrompt("mayor of Kelmora", documents, config, count);
  config.sentence_ratio = 0.5;
  const auto reduced = ReducePrompt("mayor of Kelmora", documents, config, count);
  ASSERT_EQ(reduced->kept.size(), whole->kept.size());
  EXPECT_LT(reduced->tokens_after, whole->tokens_after);
  EXPECT_EQ(reduced->tokens_before, whole->tokens_before);
  int64_t tokens = 0;
  for (const JudgedPassage& kept : reduced->kept) {
    const Passage& of = documents[kept.passage.document];
    EXPECT_EQ(of.text.substr(kept.passage.begin, kept.passage.text.size()), kept.passage.text);
    tokens += kept.tokens;
  }
  EXPECT_EQ(tokens, reduced->tokens_after);
}

}  // namespace
}  // namespace millrace
