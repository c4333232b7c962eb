// What is kept of 2,600 passages for real questions, by BM25 alone.
#include <gtest/gtest.h>

#include "prompt_reduction/nq_open_test_data.h"

namespace millrace {
namespace {

TEST(NqOpen, TheCutKeepsTheAnswerAtFewTokens) {
  const auto data = LoadNqOpen();
  if (!data) GTEST_SKIP() << "needs ../shared/data/nq-open-oracle.jsonl.gz";
  EXPECT_EQ(data->questions.size(), 2655u);
  EXPECT_EQ(data->pool.size(), 2600u);
  NqJudge judge(*data);
  const NqScore score = judge.Score(ReductionConfig(), 0, 1);
  RecordProperty("coverage", std::to_string(score.coverage));
  RecordProperty("tokens", std::to_string(score.tokens));
  EXPECT_GE(score.coverage, 0.95);
  EXPECT_LE(score.tokens, 470);
  std::cout << "coverage " << score.coverage << " at " << score.tokens << " tokens\n";
}

}  // namespace
}  // namespace millrace
