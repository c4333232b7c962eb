#include "prompt_reduction/token_pruning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "prompt_reduction/reduce.h"

namespace millrace {
namespace {

using testing::HasSubstr;

bool Nothing(std::string_view) { return false; }

// One token a word, of the given surprises, and the space before a word belongs to it.
std::vector<ScoredToken> TokenPerWord(std::string_view text, const std::vector<double>& nats) {
  std::vector<ScoredToken> tokens;
  size_t at = 0;
  for (const double n : nats) {
    at = std::min(text.find(' ', at + 1), text.size());
    tokens.push_back({at, n});
  }
  return tokens;
}

TEST(PruneText, LeavesOutWhatCouldBeGuessed) {
  const std::string text = "Kelmora is a port of the north";
  const auto tokens = TokenPerWord(text, {9, 1, 0.5, 6, 2, 0.1, 5});
  EXPECT_EQ(PruneText(text, tokens, 1, Nothing), text);
  EXPECT_EQ(PruneText(text, tokens, 6.0 / 7, Nothing), "Kelmora is a port of north");
  EXPECT_EQ(PruneText(text, tokens, 0.5, Nothing), "Kelmora port north");  // 3 of at most 3.5
  EXPECT_EQ(PruneText(text, tokens, 0.5, [](std::string_view w) { return w == "the"; }),
            "Kelmora port the");
  EXPECT_EQ(PruneText(text, tokens, 0, Nothing), "Kelmora");  // never all
}

TEST(PruneText, AWordIsAsSurprisingAsItsMostSurprisingToken) {
  const std::string text = "one mill-race three";
  // "one", " mill", "-", "race", " three"
  const std::vector<ScoredToken> tokens = {{3, 1}, {8, 0.1}, {9, 0.1}, {13, 7}, {19, 2}};
  EXPECT_EQ(PruneText(text, tokens, 0.8, Nothing), "one mill-race");
  // A word of three tokens counts three: without it 2 of 5 are left.
  const std::vector<ScoredToken> guessed = {{3, 1}, {8, 0.1}, {9, 0.1}, {13, 0.1}, {19, 2}};
  EXPECT_EQ(PruneText(text, guessed, 0.8, Nothing), "one three");
}

TEST(PruneText, OddTextsStaySensible) {
  EXPECT_EQ(PruneText("", {}, 0.5, Nothing), "");
  EXPECT_EQ(PruneText("  \n ", {}, 0.5, Nothing), "");
  EXPECT_EQ(PruneText("not scored at all", {}, 0.1, Nothing), "not scored at all");
  const std::vector<ScoredToken> one = {{6, 0.1}, {12, 0.1}};
  EXPECT_EQ(PruneText("\xe6\x9d\xb1\xe4\xba\xac\xe3\x81\xae\xe5\xb8\x82", one, 0.1, Nothing),
            "\xe6\x9d\xb1\xe4\xba\xac\xe3\x81\xae\xe5\xb8\x82");
  const std::vector<ScoredToken> past = {{100, 1}, {200, 1}};  // beyond the text
  EXPECT_EQ(PruneText("a b c", past, 0.1, Nothing), "a b c");
}

// A scorer that could have guessed every word of three letters or fewer.
SurpriseModel GuessesShortWords() {
  return [](std::span<const std::string> texts) -> Result<std::vector<std::vector<ScoredToken>>> {
    std::vector<std::vector<ScoredToken>> all;
    for (const std::string& text : texts) {
      auto& tokens = all.emplace_back();
      for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find(' ', at + 1), text.size());
        tokens.push_back({end, end - at <= 4 ? 0.1 : 5.0});
        at = end;
      }
    }
    return all;
  };
}

ReductionConfig PruningTo(double ratio) {
  ReductionConfig config;
  config.prune_ratio = ratio;
  return config;
}

int64_t Words(std::string_view text) { return 1 + std::count(text.begin(), text.end(), ' '); }

TEST(Pruning, KeptPassagesLoseWordsAndKeepTheirNumbers) {
  const std::vector<Passage> passages = {
      {.id = "a", .title = "Kelmora", .text = "The mayor of Kelmora is Anna since 1987 by the law"},
      {.id = "b", .title = "", .text = "The mayor of Trask is Bo"},
      {.id = "c", .title = "", .text = "Bread is made of flour"}};
  ReductionHelpers helpers;
  helpers.surprise = GuessesShortWords();
  const auto whole = ReducePrompt("Who is mayor of Kelmora?", passages, ReductionConfig(), Words);
  const auto pruned =
      ReducePrompt("Who is mayor of Kelmora?", passages, PruningTo(0.5), Words, helpers);
  ASSERT_TRUE(pruned.ok()) << pruned.error().message;
  ASSERT_EQ(pruned->kept.size(), whole->kept.size());
  for (size_t i = 0; i < pruned->kept.size(); ++i) {
    EXPECT_EQ(pruned->kept[i].passage.id, whole->kept[i].passage.id);
    EXPECT_EQ(pruned->kept[i].passage.begin, whole->kept[i].passage.begin);
    EXPECT_EQ(pruned->kept[i].passage.title, whole->kept[i].passage.title);
  }
  // "is" and "of" are the question's, 1987 is a number, "The" is the first: "by the" go, and then
  // "since Anna law" in their order until half of the eleven words stand.
  EXPECT_EQ(pruned->kept[0].passage.text, "The mayor of Kelmora is 1987");
  EXPECT_EQ(pruned->tokens_before, whole->tokens_before);
  EXPECT_EQ(pruned->pruned_tokens, whole->tokens_after - pruned->tokens_after);
  EXPECT_GE(pruned->pruned_tokens, 5);
  EXPECT_EQ(pruned->kept[0].tokens, Words("[1] Kelmora: The mayor of Kelmora is 1987"));
}

TEST(Pruning, IsOffWithoutARatioAModelOrReduction) {
  const std::vector<Passage> passages = {{.id = "a", .title = "", .text = "a mayor is by the sea"}};
  ReductionHelpers helpers;
  const auto text_with = [&](const ReductionConfig& config) {
    return ReducePrompt("mayor?", passages, config, Words, helpers)->kept[0].passage.text;
  };
  EXPECT_EQ(text_with(PruningTo(0.1)), passages[0].text);  // no model
  helpers.surprise = GuessesShortWords();
  EXPECT_EQ(text_with(ReductionConfig()), passages[0].text);
  EXPECT_EQ(text_with(PruningTo(0.1)), "a mayor");
  ReductionConfig off = PruningTo(0.1);
  off.mode = ReductionMode::kOff;
  EXPECT_EQ(text_with(off), passages[0].text);
}

TEST(Pruning, AModelThatFailsIsSaid) {
  const std::vector<Passage> passages = {{.id = "a", .title = "", .text = "a mayor by the sea"}};
  ReductionHelpers helpers;
  helpers.surprise =
      [](std::span<const std::string>) -> Result<std::vector<std::vector<ScoredToken>>> {
    return Error{"busy", ErrorKind::kExhausted};
  };
  EXPECT_EQ(ReducePrompt("mayor", passages, PruningTo(0.5), Words, helpers).error().message,
            "busy");
  helpers.surprise =
      [](std::span<const std::string>) -> Result<std::vector<std::vector<ScoredToken>>> {
    return std::vector<std::vector<ScoredToken>>();
  };
  EXPECT_EQ(ReducePrompt("mayor", passages, PruningTo(0.5), Words, helpers).error().kind,
            ErrorKind::kInternal);
}

}  // namespace
}  // namespace millrace
