#include "lab/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lab/json_schema.h"
#include "lab/task_score.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

Expectation Expect(const std::string& json) {
  return ParseTask("{\"prompt\":\"q\",\"expected\":" + json + "}", "t").value()[0].expected;
}
bool Right(const std::string& json, const std::string& answer) {
  return Judge(Expect(json), answer).right;
}

TEST(Task, KindsOfExpectation) {
  EXPECT_TRUE(Right(R"("Paris")", " Paris\n"));
  EXPECT_FALSE(Right(R"("Paris")", "paris"));
  EXPECT_TRUE(Right(R"(["a","b"])", "b"));
  EXPECT_TRUE(Right(R"({"contains":"42"})", "It is 42."));
  EXPECT_FALSE(Right(R"({"contains":["x","y"]})", "z"));
  EXPECT_TRUE(Right(R"({"number":1234.5,"tolerance":0.1})",
                    "About 1,234.55 of 2"
                    " is -7; 1,234.45"));
  EXPECT_FALSE(Right(R"({"number":3})", "3.01"));
  EXPECT_TRUE(Right(R"({"number":-3})", "x = -3"));
  EXPECT_FALSE(Right(R"({"number":0})", "none"));
  EXPECT_TRUE(Right(R"({"regex":"^[A-Z]+-\\d+$"})", "AB-12"));
  EXPECT_FALSE(Right(R"({"regex":"^\\d$"})", "12"));
  EXPECT_TRUE(Right(R"({"schema":{"type":"object","required":["a"]}})", R"({"a":1})"));
  EXPECT_FALSE(Right(R"({"schema":{"type":"object","required":["a"]}})", R"({"b":1})"));
}

TEST(Task, F1OfWords) {
  EXPECT_EQ(TokenF1("the price is 7", "The price is 7."), 1);
  EXPECT_NEAR(TokenF1("a b c d", "a b x"), 2 * (2.0 / 3) * 0.5 / (2.0 / 3 + 0.5), 1e-12);
  EXPECT_EQ(TokenF1("a a", "a"), 2 * 1 * 0.5 / 1.5);
  EXPECT_EQ(TokenF1("", ""), 1);
  EXPECT_EQ(TokenF1("a", ""), 0);
}

TEST(Task, DocumentsGoBehindTheSystemMessage) {
  const auto items =
      ParseTask(R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"Q"}],)"
                R"("documents":["one",{"text":"two"}],"expected":"x"})",
                "t");
  ASSERT_TRUE(items.ok()) << items.error().message;
  EXPECT_EQ(
      (*items)[0].messages,
      R"([{"role":"system","content":"S\n\n[1] one\n[2] two"},{"role":"user","content":"Q"}])");
  const auto without = ParseTask(
      R"({"messages":[{"role":"user","content":"Q"}],"documents":["one"],"expected":"x"})", "t");
  EXPECT_THAT((*without)[0].messages, HasSubstr(R"({"role":"system","content":"[1] one"})"));
}

TEST(Task, ErrorsNameTheLine) {
  const auto message = [](const std::string& text) {
    const auto items = ParseTask(text, "t.jsonl");
    return items.ok() ? std::string() : items.error().message;
  };
  const std::string good = "{\"prompt\":\"q\",\"expected\":\"a\"}\n";
  EXPECT_EQ(message(good + "\n" + good), "");
  EXPECT_THAT(message(good + "{"), HasSubstr("t.jsonl, line 2: it is no JSON"));
  EXPECT_THAT(message("{\"prompt\":\"q\"}"), HasSubstr("\"expected\" is missing"));
  EXPECT_THAT(message("{\"expected\":\"q\"}"), HasSubstr("needs \"messages\" or \"prompt\""));
  EXPECT_THAT(message(R"({"prompt":"q","expected":{"regex":"("}})"), HasSubstr("no regular expr"));
  EXPECT_THAT(message(R"({"prompt":"q","expected":{"schema":{"oneOf":[]}}})"), HasSubstr("oneOf"));
  EXPECT_THAT(message(R"({"prompt":"q","expected":[]})"), HasSubstr("list of texts"));
  EXPECT_THAT(message(R"({"messages":[{"role":"user"}],"expected":"a"})"), HasSubstr("content"));
  EXPECT_THAT(message(""), HasSubstr("no questions"));
}

TEST(Task, GroupsAreClusters) {
  const auto items = ParseTask(
      "{\"prompt\":\"a\",\"expected\":\"a\",\"group\":\"g\"}\n"
      "{\"prompt\":\"b\",\"expected\":\"a\"}\n"
      "{\"prompt\":\"c\",\"expected\":\"a\",\"group\":\"g\"}\n",
      "t");
  ASSERT_TRUE(items.ok());
  EXPECT_EQ((*items)[0].cluster, (*items)[2].cluster);
  EXPECT_NE((*items)[0].cluster, (*items)[1].cluster);
}

TEST(Schema, Keywords) {
  const char* schema =
      R"({"type":"object","additionalProperties":false,"properties":{"n":{"type":"integer",)"
      R"("minimum":1},"s":{"type":"string","maxLength":2,"pattern":"^a"},"l":{"type":"array",)"
      R"("items":{"enum":[1,"x"]},"minItems":1},"u":{"anyOf":[{"type":"null"},{"const":5}]}}})";
  ASSERT_TRUE(CheckSchema(schema).ok());
  EXPECT_TRUE(FitsSchema(schema, R"({"n":1,"s":"aé","l":[1,"x"],"u":null})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"n":0})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"n":1.5})"));
  EXPECT_TRUE(FitsSchema(schema, R"({"n":2.0})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"s":"abc"})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"s":"b"})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"l":[]})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"l":[2]})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"u":4})"));
  EXPECT_FALSE(FitsSchema(schema, R"({"other":1})"));
  EXPECT_FALSE(FitsSchema(schema, "not json"));
}

TEST(TaskScore, FlipsAndMcNemar) {
  std::vector<Judgement> first(10, {true, 1}), second(10, {true, 1});
  std::vector<int32_t> clusters = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (size_t i = 0; i < 6; ++i) second[i] = {false, 0};
  first[9] = {false, 0.5};
  const TaskComparison c = CompareTasks(first, second, clusters);
  EXPECT_EQ(c.lost, 6);
  EXPECT_EQ(c.gained, 1);
  EXPECT_NEAR(c.mcnemar_p, 2.0 * (1 + 7) / 128, 1e-12);
  EXPECT_NEAR(c.difference, -0.5, 1e-12);
  const TaskScore s = ScoreTask(first, clusters);
  EXPECT_EQ(s.right, 9);
  EXPECT_NEAR(s.f1, 0.95, 1e-12);
  EXPECT_LT(s.exact_match_interval.low, 0.9);
}

}  // namespace
}  // namespace millrace
