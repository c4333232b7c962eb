#include "lab/reduction_study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lab/reduction_report.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::Not;

JudgedPassage Kept(std::string id, double score, std::string text = "") {
  JudgedPassage kept;
  kept.passage.id = std::move(id);
  kept.passage.text = std::move(text);
  kept.score = score;
  return kept;
}

TEST(StudyQuestions, AreReadAndBadLinesNamed) {
  const auto questions = ParseStudyQuestions(
      "{\"question\":\"q\",\"answers\":[\"a\"],\"relevant\":[\"d\"],\"group\":1}\n\n"
      "{\"question\":\"r\",\"group\":1,\"expected\":{\"contains\":\"x\"},"
      "\"documents\":[{\"id\":\"d\",\"text\":\"t\"}]}\n",
      "f");
  ASSERT_TRUE(questions.ok()) << questions.error().message;
  ASSERT_EQ(questions->size(), 2u);
  EXPECT_EQ((*questions)[0].expected->kind, ExpectationKind::kExact);
  EXPECT_EQ((*questions)[1].expected->kind, ExpectationKind::kContains);
  EXPECT_EQ((*questions)[0].cluster, (*questions)[1].cluster);
  EXPECT_EQ((*questions)[1].documents[0].text, "t");
  for (const char* bad :
       {"{}", "[]", "x", R"({"question":""})", R"({"question":1})",
        R"({"question":"q","answers":"a"})", R"({"question":"q","answers":[1]})",
        R"({"question":"q","documents":["t"]})", R"({"question":"q","expected":{}})"}) {
    const auto result = ParseStudyQuestions("{\"question\":\"q\"}\n" + std::string(bad), "f");
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_THAT(result.error().message, HasSubstr("f, line 2")) << bad;
  }
  EXPECT_FALSE(ParseStudyQuestions("\n", "f").ok());
}

// 1/log2(3) + 1/log2(4) of 1 + 1/log2(3): a stands second, b third; a's second passage is no rank.
TEST(StudyScore, RecallAndNdcgAreOfDocumentsByScore) {
  StudyQuestion question;
  question.relevant = {"a", "b"};
  question.answers = {"Anna"};
  ReducedPrompt reduced;
  reduced.kept = {Kept("b", 2), Kept("a", 4, "Anna Brick"), Kept("a", 3), Kept("x", 5)};
  StudyOutcome outcome = ScoreSelection(question, reduced);
  EXPECT_EQ(outcome.recall, 1.0);
  EXPECT_NEAR(*outcome.ndcg, 0.6934264, 1e-6);
  EXPECT_EQ(outcome.covered, true);
  reduced.kept = {Kept("x", 5, "anna")};
  outcome = ScoreSelection(question, reduced);
  EXPECT_EQ(outcome.recall, 0.0);
  EXPECT_EQ(outcome.ndcg, 0.0);
  EXPECT_EQ(outcome.covered, false);
  outcome = ScoreSelection(StudyQuestion(), reduced);
  EXPECT_FALSE(outcome.covered || outcome.recall || outcome.ndcg);
}

// `lost` of `count` questions are covered by all settings but top:1; auto keeps fewer tokens than
// top:3, and covers what it covers.
struct Study {
  std::vector<StudySetting> settings = StudySettings(3, StudySource::kStore);
  std::vector<StudyQuestion> questions;
  StudyOutcomes outcomes;

  Study(size_t count, size_t lost) : questions(count), outcomes(settings.size()) {
    const int64_t tokens[] = {100, 200, 300, 150};  // top:1, top:2, top:3, auto
    for (size_t q = 0; q < count; ++q) {
      questions[q].cluster = static_cast<int32_t>(q);
      for (size_t s = 0; s < settings.size(); ++s) {
        StudyOutcome outcome;
        outcome.passage_tokens = tokens[s];
        outcome.covered = s > 0 || q >= lost;
        outcomes[s].push_back(outcome);
      }
    }
  }
  StudyRecommendation Advice() const { return RecommendReduction(settings, questions, outcomes); }
};

TEST(StudyRecommendation, TakesTheFewestTokensThatHold) {
  const StudyRecommendation advice = Study(1000, 60).Advice();
  EXPECT_EQ(advice.reference, "top:3");
  EXPECT_EQ(advice.setting, "auto");  // top:1 loses six points; auto has fewer tokens than top:2
  ASSERT_EQ(advice.candidates.size(), 3u);
  EXPECT_DOUBLE_EQ(advice.candidates[0].difference, -0.06);
  EXPECT_FALSE(advice.candidates[0].shown_to_hold);
  EXPECT_GT(advice.candidates[0].adjusted_p, 0.99);
  EXPECT_EQ(Study(1000, 0).Advice().setting, "top:1");
}

// All passages confuse the model: they are no measure of the others.
TEST(StudyRecommendation, ComparesWithTheBest) {
  Study study(1000, 60);
  for (size_t q = 0; q < 500; ++q) study.outcomes[2][q].covered = false;  // top:3
  const StudyRecommendation advice = study.Advice();
  EXPECT_EQ(advice.reference, "top:2");
  EXPECT_EQ(advice.setting, "auto");
  EXPECT_DOUBLE_EQ(advice.candidates[0].difference, -0.06);  // top:1
}

TEST(StudyRecommendation, FewQuestionsDecideNothing) {
  const StudyRecommendation advice = Study(10, 0).Advice();
  EXPECT_EQ(advice.setting, "");
  EXPECT_THAT(advice.reason, HasSubstr("undecided"));
  // (0 + 0.02) / (1 / 12): one-sided p .4052, times three by Holm.
  EXPECT_NEAR(advice.candidates[0].adjusted_p, 1.0, 1e-9);
  // One lost of a hundred: ((-1/102) + .02) / (sqrt(2 - 1/102) / 102): p .2305, the largest.
  const StudyRecommendation lost = Study(100, 1).Advice();
  EXPECT_NEAR(lost.candidates[0].interval.low, -0.0098039 - 1.959964 * 0.0138308, 1e-6);
  EXPECT_FALSE(lost.candidates[0].shown_to_hold);
  EXPECT_THAT(RecommendReduction(lost.candidates.empty() ? std::vector<StudySetting>()
                                                         : StudySettings(2, StudySource::kStore),
                                 std::vector<StudyQuestion>(1),
                                 StudyOutcomes(3, std::vector<StudyOutcome>(1)))
                  .reason,
              HasSubstr("undecided"));
}

TEST(StudyRecommendation, OwnPassagesAreComparedWithAll) {
  const auto settings = StudySettings(2, StudySource::kOwnPassages);
  ASSERT_EQ(settings.size(), 4u);
  EXPECT_EQ(settings[3].name, "off");
  EXPECT_EQ(ReferenceSetting(settings), 3u);
  EXPECT_EQ(ReferenceSetting(StudySettings(2, StudySource::kStore)), 1u);
}

TEST(StudyReport, SaysTheSameInAllForms) {
  Study study(1000, 60);
  study.outcomes[3][0].asked = {.prompt_tokens = 170,
                                .reused_tokens = 20,
                                .cold_ms = 5,
                                .warm_ms = 1,
                                .judged = std::nullopt};
  const auto rows = SummariseStudy(study.settings, study.questions, study.outcomes);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_DOUBLE_EQ(rows[0].coverage->mean, 0.94);
  EXPECT_NEAR(rows[0].coverage->interval.low, 0.9235, 0.0002);  // Wilson's, worked out by hand
  EXPECT_FALSE(rows[0].cold_ms);
  EXPECT_EQ(rows[3].asked, 1);
  const StudyRecommendation advice = study.Advice();
  const StudyReport report = {rows, advice, {{"store", "<s>"}}};
  EXPECT_THAT(StudyTable(report), HasSubstr("recommended: auto"));
  const auto tree = nlohmann::json::parse(StudyJson(report));
  EXPECT_EQ(tree["recommendation"]["setting"], "auto");
  EXPECT_DOUBLE_EQ(tree["rows"][0]["answer_coverage"]["mean"], 0.94);
  EXPECT_EQ(tree["rows"][0]["first_token_cold_ms"], nullptr);
  const std::string html = StudyHtml(report);
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("&lt;s&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<s>")));
  EXPECT_THAT(html, Not(HasSubstr("http://127")));
}

}  // namespace
}  // namespace millrace
