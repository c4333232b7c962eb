#include "prompt_reduction/reduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "prompt_reduction/reduction_switch.h"

namespace millrace {
namespace {

using testing::ElementsAre;

int64_t Characters(std::string_view text) { return static_cast<int64_t>(text.size()); }

Passage Doc(std::string id, std::string text, std::string title = "") {
  return {.id = std::move(id), .title = std::move(title), .text = std::move(text)};
}

ReducedPrompt Reduce(std::string_view question, const std::vector<Passage>& documents,
                     const ReductionConfig& config = {}) {
  auto reduced = ReducePrompt(question, documents, config, Characters);
  EXPECT_TRUE(reduced.ok());
  return std::move(reduced).value();
}

std::vector<std::string> Ids(const ReducedPrompt& reduced) {
  std::vector<std::string> ids;
  for (const JudgedPassage& j : reduced.kept) ids.push_back(j.passage.id);
  return ids;
}

std::vector<std::string> Fates(const ReducedPrompt& reduced) {
  std::vector<std::string> fates;
  for (const JudgedPassage& j : reduced.kept) fates.emplace_back(NameOf(j.fate));
  return fates;
}

size_t Count(const ReducedPrompt& reduced, PassageFate fate) {
  return reduced.fate[static_cast<size_t>(fate)];
}

// About four cities; the question is about one.
std::vector<Passage> Cities() {
  return {Doc("d10", "Kelmora is a city. The mayor of Kelmora is Anna Brick."),
          Doc("d9", "Trask is a port. The mayor of Trask is Omar Vale."),
          Doc("d2", "Veldon lies in a valley. Its population is 40 thousand."),
          Doc("d1", "The harbour of Kelmora opened in 1950. Many ships come.")};
}

TEST(Reduce, KeepsWhatScoresNearTheBestInTheOrderOfTheDocuments) {
  const ReducedPrompt reduced = Reduce("Who is the mayor of Kelmora?", Cities());
  // Scores by a script over the same words: 2.804, 1.864 (0.66 of the best), 0.364, 1.434.
  EXPECT_THAT(Ids(reduced), ElementsAre("d9", "d10"));  // 9 before 10
  EXPECT_THAT(Fates(reduced), ElementsAre("score", "best"));
  EXPECT_EQ(reduced.passages(), 4u);
  EXPECT_EQ(reduced.dropped(), 2u);
  EXPECT_EQ(reduced.kept[1].passage.document, 0u);
  EXPECT_NEAR(reduced.kept[1].score, 2.8040495853052283, 1e-12);
  EXPECT_EQ(reduced.best_score, reduced.kept[1].score);
  ASSERT_TRUE(reduced.margin);
  EXPECT_NEAR(*reduced.margin, (1.8635679482459195 - 1.4344407188037165) / 2.8040495853052283,
              1e-12);
  // "[1] " before each, and the text.
  EXPECT_EQ(reduced.tokens_before, 58 + 53 + 59 + 59);
  EXPECT_EQ(reduced.tokens_after, 53 + 58);
}

TEST(Reduce, ModesAndOrders) {
  ReductionConfig config;
  config.mode = ReductionMode::kOff;
  EXPECT_THAT(Ids(Reduce("Kelmora", Cities(), config)), ElementsAre("d10", "d9", "d2", "d1"));
  EXPECT_FALSE(Reduce("Kelmora", Cities(), config).margin);
  config.mode = ReductionMode::kTop;
  config.most = 1;
  const ReducedPrompt one = Reduce("Who is the mayor of Kelmora?", Cities(), config);
  EXPECT_THAT(Ids(one), ElementsAre("d10"));
  EXPECT_EQ(Count(one, PassageFate::kMaximum), 3u);
  config.most = 3;
  config.order = PassageOrder::kRelevance;
  const ReducedPrompt three = Reduce("mayor of Kelmora", Cities(), config);
  EXPECT_EQ(Ids(three)[0], "d10");
  EXPECT_GE(three.kept[1].score, three.kept[2].score);
  config.order = PassageOrder::kGiven;
  EXPECT_EQ(Ids(Reduce("mayor of Kelmora", Cities(), config))[0], "d10");
}

TEST(Reduce, TheRatioDecides) {
  std::vector<Passage> documents = {Doc("a", "alpha beta gamma"), Doc("b", "alpha beta delta"),
                                    Doc("c", "alpha other words")};
  for (int i = 0; i < 20; ++i) documents.push_back(Doc("z" + std::to_string(i), "no match here"));
  ReductionConfig config;
  config.least = 1;
  config.ratio = 0.6;
  const ReducedPrompt reduced = Reduce("alpha beta gamma", documents, config);
  std::vector<double> scores;
  config.mode = ReductionMode::kTop;
  config.order = PassageOrder::kRelevance;
  for (const JudgedPassage& j : Reduce("alpha beta gamma", documents, config).kept)
    scores.push_back(j.score / reduced.best_score);
  ASSERT_EQ(scores.size(), 3u);
  const auto near = std::count_if(scores.begin(), scores.end(), [](double s) { return s >= 0.6; });
  EXPECT_EQ(static_cast<std::ptrdiff_t>(reduced.kept.size()), near);
  config.mode = ReductionMode::kAuto;
  config.ratio = 1.0;
  EXPECT_THAT(Ids(Reduce("alpha beta gamma", documents, config)), ElementsAre("a"));
  config.ratio = 0.01;
  EXPECT_EQ(Reduce("alpha beta gamma", documents, config).kept.size(), 3u);
}

TEST(Reduce, DuplicatesGoAndAreNoRisk) {
  const std::string text = "The mayor of Kelmora is Anna Brick, and she likes the old harbour.";
  const std::vector<Passage> documents = {Doc("a", text), Doc("b", text + " "), Doc("c", "Sea.")};
  const ReducedPrompt reduced = Reduce("mayor of Kelmora", documents);
  EXPECT_THAT(Ids(reduced), ElementsAre("a"));
  EXPECT_EQ(Count(reduced, PassageFate::kDuplicate), 1u);
  EXPECT_EQ(reduced.best_dropped, 0.0);
  EXPECT_EQ(reduced.margin, 1.0);
  ReductionConfig config;
  config.duplicate_likeness = 2;
  EXPECT_EQ(Reduce("mayor of Kelmora", documents, config).kept.size(), 2u);
}

TEST(Reduce, ABudgetHoldsButTheBestStays) {
  ReductionConfig config;
  config.token_budget = 10;
  const ReducedPrompt reduced = Reduce("Who is the mayor of Kelmora?", Cities(), config);
  EXPECT_THAT(Ids(reduced), ElementsAre("d10"));
  EXPECT_EQ(Count(reduced, PassageFate::kBudget), 3u);  // each would fill the minimum
  config.token_budget = 111;
  EXPECT_EQ(Reduce("Who is the mayor of Kelmora?", Cities(), config).kept.size(), 2u);
  config.token_budget = 110;
  EXPECT_EQ(Reduce("Who is the mayor of Kelmora?", Cities(), config).kept.size(), 1u);
}

TEST(Reduce, NothingToJudgeByKeepsAll) {
  EXPECT_THAT(Ids(Reduce("???", Cities())), ElementsAre("d1", "d2", "d9", "d10"));
  EXPECT_THAT(Fates(Reduce("zebra", Cities())), ElementsAre("all", "all", "all", "all"));
  EXPECT_FALSE(Reduce("zebra", Cities()).margin);
  ReductionConfig top;
  top.mode = ReductionMode::kTop;
  top.most = 2;
  EXPECT_THAT(Ids(Reduce("zebra", Cities(), top)), ElementsAre("d9", "d10"));
  EXPECT_TRUE(Reduce("who", {}).kept.empty());
}

TEST(Reduce, LongDocumentsAreCutAndPiecesSayWhereTheyStand) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text += i == 120 ? "The mayor of Kelmora is Anna Brick. " : "Some other sentence stands here. ";
  }
  const ReducedPrompt reduced = Reduce("Who is the mayor of Kelmora?", {Doc("long", text)});
  ASSERT_GE(reduced.passages(), 5u);
  ASSERT_FALSE(reduced.kept.empty());
  bool found = false;
  for (const JudgedPassage& j : reduced.kept) {
    EXPECT_EQ(text.substr(j.passage.begin, j.passage.text.size()), j.passage.text);
    found = found || j.passage.text.find("Anna Brick") != std::string::npos;
  }
  EXPECT_TRUE(found);
}

TEST(Reduce, DiversityPrefersTheUnlike) {
  std::vector<Passage> documents = {
      Doc("a", "mayor Kelmora one two three four five six seven"),
      Doc("b", "mayor Kelmora one two three four five six eight"),
      Doc("c", "mayor of a far town, Kelmora is not meant here at all")};
  for (int i = 0; i < 9; ++i) documents.push_back(Doc("z", "no match"));
  ReductionConfig config;
  config.mode = ReductionMode::kTop;
  config.most = 2;
  config.order = PassageOrder::kRelevance;
  EXPECT_THAT(Ids(Reduce("mayor Kelmora", documents, config)), ElementsAre("a", "b"));
  config.diversity_lambda = 0.3;
  EXPECT_THAT(Ids(Reduce("mayor Kelmora", documents, config)), ElementsAre("a", "c"));
}

TEST(Reduce, PoisonedInputsGiveSensibleResults) {
  const std::vector<std::string> questions = {"\"; DROP TABLE passages; --",
                                              "NEAR(a b, 5) OR title:x*",
                                              std::string("nul\0byte", 8),
                                              "\xff\xfe\x80\xc3",
                                              std::string(100'000, '('),
                                              std::string(50'000, 'a') + " mayor",
                                              "*",
                                              "AND"};
  const std::vector<Passage> documents = {Doc("same", "<script>alert('mayor')</script>"),
                                          Doc("same", std::string(300'000, '.')),
                                          Doc("", std::string(300'000, '\x80')),
                                          Doc("x", ""),
                                          Doc("x", std::string("\xe2\x82 mayor \xf0", 10)),
                                          Doc("y", std::string(300'000, 'a'))};
  for (const std::string& question : questions) {
    const ReducedPrompt reduced = Reduce(question, documents);
    EXPECT_FALSE(reduced.kept.empty());
    for (const JudgedPassage& j : reduced.kept) {
      ASSERT_LT(j.passage.document, documents.size());
      const Passage& of = documents[j.passage.document];
      EXPECT_EQ(of.text.substr(j.passage.begin, j.passage.text.size()), j.passage.text);
    }
  }
}

TEST(ReductionSwitch, ReadsWhatItWrites) {
  for (const char* text : {"auto", "off", "top:1", "top:1000"}) {
    const auto config = ParseReduction(text);
    ASSERT_TRUE(config.ok()) << text;
    EXPECT_EQ(NameOf(*config), text);
  }
  EXPECT_EQ(ParseReduction("top:7")->most, 7u);
  for (const char* text : {"", "on", "top", "top:", "top:0", "top:1001", "top:-1", "top:3x",
                           "top: 3", "top:99999999999999999999", "AUTO"}) {
    const auto config = ParseReduction(text);
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_NE(config.error().message.find("top:K"), std::string::npos);
  }
}

TEST(Passage, NumbersInNamesCountByValue) {
  EXPECT_TRUE(NaturallyLess("d9", "d10"));
  EXPECT_FALSE(NaturallyLess("d10", "d9"));
  EXPECT_FALSE(NaturallyLess("d09", "d9"));
  EXPECT_FALSE(NaturallyLess("d9", "d09"));
  EXPECT_TRUE(NaturallyLess("a", "b"));
  EXPECT_TRUE(NaturallyLess("a", "a1"));
  EXPECT_FALSE(NaturallyLess("", ""));
  EXPECT_TRUE(NaturallyLess("99999999999999999999998", "99999999999999999999999"));
}

TEST(Passage, StandsOnANumberedLine) {
  EXPECT_EQ(NumberedLine(3, "", "text"), "[3] text");
  EXPECT_EQ(NumberedLine(12, "Title", "text"), "[12] Title: text");
}

}  // namespace
}  // namespace millrace
