#include "speculative_decoding/suffix_drafter.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "speculative_decoding/test_support.h"

namespace millrace {
namespace {

std::vector<TokenId> Draft(SuffixDrafter& drafter, const std::vector<TokenId>& tokens,
                           int32_t wanted, std::string_view space = {}) {
  DraftTask task{.request = RequestId(1),
                 .tokens = tokens,
                 .space = space,
                 .block_table = {},
                 .wanted = wanted};
  DraftTask* tasks[] = {&task};
  drafter.Draft(tasks);
  return task.draft;
}

TEST(SuffixDrafterTest, FollowsTheMajority) {
  SuffixDrafter drafter;
  const auto tokens = Tokens({1, 2, 5, 9, 1, 2, 6, 9, 1, 2, 6, 9, 1, 2, 6, 9, 1, 2});
  const auto draft = Draft(drafter, tokens, 2);
  ASSERT_FALSE(draft.empty());
  EXPECT_EQ(draft[0], TokenId(6));
}

TEST(SuffixDrafterTest, EndsWhereTheContinuationsDisagree) {
  SuffixDrafter drafter;
  const auto tokens =
      Tokens({1, 2, 3, 4, 10, 0, 1, 2, 3, 4, 11, 0, 1, 2, 3, 4, 12, 0, 1, 2, 3, 4, 13, 7, 1, 2});
  EXPECT_EQ(Draft(drafter, tokens, 8), Tokens({3, 4}));
}

TEST(SuffixDrafterTest, KnowsRecentOutputsOfItsNamespaceOnly) {
  SuffixDrafter drafter;
  const auto earlier = Tokens({50, 51, 1, 2, 3, 4, 5, 6});
  drafter.Finish(RequestId(7), "a", earlier, 2);
  EXPECT_EQ(Draft(drafter, Tokens({9, 1, 2, 3}), 8, "a"), Tokens({4, 5, 6}));
  EXPECT_TRUE(Draft(drafter, Tokens({9, 1, 2, 3}), 8, "b").empty());
  EXPECT_TRUE(Draft(drafter, Tokens({9, 1, 2, 3}), 8).empty());
}

TEST(SuffixDrafterTest, NoRunReachesFromOneOutputIntoTheNext) {
  SuffixDrafter drafter;
  drafter.Finish(RequestId(1), {}, Tokens({0, 0, 1, 2}), 2);
  drafter.Finish(RequestId(2), {}, Tokens({3, 4, 5}), 2);
  EXPECT_TRUE(Draft(drafter, Tokens({8, 1, 2}), 4).empty());
}

TEST(SuffixDrafterTest, NamespacesAreBounded) {
  SuffixDrafter drafter;
  for (int i = 0; i < 500; ++i) {
    drafter.Finish(RequestId(i), std::to_string(i), Tokens({1, 2, 3, 4}), 1);
  }
  EXPECT_EQ(drafter.spaces(), SuffixDrafter::kMaxSpaces);
  EXPECT_EQ(Draft(drafter, Tokens({2, 3}), 4, "499"), Tokens({4}));
}

TEST(SuffixIndexTest, FindsTheSameAsALookThroughTheLatestText) {
  SuffixIndex index(300);
  std::vector<TokenId> all;
  CounterRng rng(3, 1);
  for (int text = 0; text < 60; ++text) {
    std::vector<TokenId> tokens;
    for (uint64_t i = 0; i < 5 + rng.NextU64() % 20; ++i) {
      tokens.emplace_back(static_cast<int32_t>(rng.NextU64() % 6));
    }
    index.Append(tokens);
    ASSERT_LE(index.text().size(), 300u);
    for (int32_t a = 0; a < 6; ++a) {
      for (int32_t b = 0; b < 6; ++b) {
        const auto context = Tokens({a, b});
        std::vector<size_t> found, expected;
        index.ForEach(context, 1 << 20, [&](size_t at) { found.push_back(at); });
        const auto held = index.text();
        for (size_t at = held.size() - 1; at >= 2; --at) {
          if (held[at - 1] == context[1] && held[at - 2] == context[0]) expected.push_back(at);
        }
        ASSERT_EQ(found, expected);
      }
    }
  }
}

}  // namespace
}  // namespace millrace
