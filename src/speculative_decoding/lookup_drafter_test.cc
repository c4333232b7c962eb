#include "speculative_decoding/lookup_drafter.h"

#include <gtest/gtest.h>

#include "speculative_decoding/test_support.h"

namespace millrace {
namespace {

std::vector<TokenId> Draft(const std::vector<TokenId>& tokens, int32_t wanted) {
  DraftTask task{.request = RequestId(1), .tokens = tokens, .block_table = {}, .wanted = wanted};
  DraftTask* tasks[] = {&task};
  LookupDrafter().Draft(tasks);
  return task.draft;
}

TEST(LookupDrafterTest, ContinuesTheLongestEarlierRun) {
  // 1 2 stands twice before: after 9 the run is longer by one.
  const auto tokens = Tokens({9, 1, 2, 5, 6, 7, 1, 2, 8, 3, 9, 1, 2});
  EXPECT_EQ(Draft(tokens, 3), Tokens({5, 6, 7}));
}

TEST(LookupDrafterTest, OfEquallyLongRunsTheLatest) {
  EXPECT_EQ(Draft(Tokens({1, 2, 5, 0, 1, 2, 6, 0, 1, 2}), 1), Tokens({6}));
}

TEST(LookupDrafterTest, OneTokenIsNoMatch) {
  EXPECT_TRUE(Draft(Tokens({2, 5, 1, 2}), 4).empty());
  EXPECT_TRUE(Draft(Tokens({2}), 4).empty());
  EXPECT_TRUE(Draft(Tokens({3, 2}), 4).empty());
}

TEST(LookupDrafterTest, ATextThatRepeatsGoesOnRepeating) {
  EXPECT_EQ(Draft(Tokens({1, 2, 3, 1, 2, 3}), 7), Tokens({1, 2, 3, 1, 2, 3, 1}));
  EXPECT_EQ(Draft(Tokens({4, 4, 4}), 5), Tokens({4, 4, 4, 4, 4}));
}

}  // namespace
}  // namespace millrace
