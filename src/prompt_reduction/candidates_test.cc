#include "prompt_reduction/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "prompt_reduction/reduce.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

std::vector<Passage> Passages(const std::vector<std::string>& texts) {
  std::vector<Passage> passages;
  for (const std::string& text : texts) {
    passages.push_back({.id = "d" + std::to_string(passages.size()), .title = "", .text = text});
  }
  return passages;
}

std::vector<size_t> Order(const Candidates& candidates) {
  std::vector<size_t> order;
  for (const RankedPassage& ranked : candidates.ranking) order.push_back(ranked.passage);
  return order;
}

std::vector<std::string> KeptIds(const ReducedPrompt& reduced) {
  std::vector<std::string> ids;
  for (const JudgedPassage& kept : reduced.kept) ids.push_back(kept.passage.id);
  return ids;
}

int64_t Bytes(std::string_view text) { return static_cast<int64_t>(text.size()); }

ReductionConfig LeastOne() {
  ReductionConfig config;
  config.least = 1;
  return config;
}

ReductionHelpers With(const PassageModels& models) {
  ReductionHelpers helpers;
  helpers.models = models;
  return helpers;
}

// A judge that says these numbers, for passages d0, d1, ...
PassageModels::Judge Says(std::vector<double> scores) {
  return
      [scores](std::string_view, std::span<const Passage> passages) -> Result<std::vector<double>> {
        std::vector<double> said;
        for (const Passage& p : passages) said.push_back(scores[std::stoul(p.id.substr(1))]);
        return said;
      };
}

// 1/61 + 1/63, 1/62 + 1/61, 1/63, 1/62: b, a, d, c.
TEST(FuseRanks, IsTheSumOfReciprocalRanks) {
  const std::vector<RankedPassage> rankings[] = {{{0, 9}, {1, 8}, {2, 7}},
                                                 {{1, 1}, {3, 1}, {0, 1}}};
  const auto fused = FuseRanks(rankings);
  ASSERT_EQ(fused.size(), 4u);
  EXPECT_EQ(fused[0].passage, 1u);
  EXPECT_NEAR(fused[0].score, 1.0 / 62 + 1.0 / 61, 1e-15);
  EXPECT_EQ(fused[1].passage, 0u);
  EXPECT_EQ(fused[2].passage, 3u);
  EXPECT_EQ(fused[3].passage, 2u);
  EXPECT_TRUE(FuseRanks({}).empty());
}

TEST(Candidates, AModelFindsWhatNoWordDoes) {
  const auto documents = Passages({"the mayor of Kelmora is Anna", "its head of government, Bo",
                                   "a mayor of nothing at all here", "weather", "rain", "snow"});
  PassageModels models;
  models.similarity = Says({0.8, 0.9, 0.3, 0.1, 0.1, 0.1});
  const auto candidates = CandidatesOf("mayor of Kelmora", documents, 200, models);
  ASSERT_TRUE(candidates.ok());
  // By words 0, 2, 1 ("of"); by meaning 1, 0, 2.
  EXPECT_EQ(Order(*candidates)[0], 0u);
  EXPECT_EQ(Order(*candidates)[1], 1u);
  const auto plain = ReducePrompt("mayor of Kelmora", documents, LeastOne(), Bytes);
  EXPECT_THAT(KeptIds(*plain), ElementsAre("d0"));
  const auto reduced = ReducePrompt("mayor of Kelmora", documents, LeastOne(), Bytes, With(models));
  EXPECT_THAT(KeptIds(*reduced), ElementsAre("d0", "d1"));
}

TEST(Candidates, ARerankerHasTheLastWord) {
  const auto documents = Passages({"mayor mayor mayor", "mayor of Kelmora", "mayor of Trask"});
  PassageModels models;
  models.relevance = Says({0.1, 0.2, 0.9});
  const auto candidates = CandidatesOf("mayor Kelmora", documents, 200, models);
  EXPECT_THAT(Order(*candidates), ElementsAre(2, 1, 0));
  EXPECT_EQ(candidates->ranking[0].score, 0.9);
  const auto reduced = ReducePrompt("mayor Kelmora", documents, LeastOne(), Bytes, With(models));
  EXPECT_THAT(KeptIds(*reduced), ElementsAre("d2"));
}

TEST(Candidates, ModelsMayFailOrSayNonsense) {
  const auto documents = Passages({"mayor", "mayor too"});
  PassageModels models;
  models.similarity = [](std::string_view,
                         std::span<const Passage>) -> Result<std::vector<double>> {
    return Error{"no model"};
  };
  EXPECT_EQ(CandidatesOf("mayor", documents, 200, models).error().message, "no model");
  models.similarity = [](std::string_view,
                         std::span<const Passage>) -> Result<std::vector<double>> {
    return std::vector<double>{1};
  };
  EXPECT_EQ(CandidatesOf("mayor", documents, 200, models).error().kind, ErrorKind::kInternal);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  models.similarity = Says({nan, nan});
  EXPECT_EQ(CandidatesOf("mayor", documents, 200, models)->ranking.size(), 2u);
  models.relevance = Says({-nan, -5});
  EXPECT_TRUE(CandidatesOf("mayor", documents, 200, models).ok());
  EXPECT_TRUE(CandidatesOf("zebra", {}, 200, models)->ranking.empty());
}

}  // namespace
}  // namespace millrace
