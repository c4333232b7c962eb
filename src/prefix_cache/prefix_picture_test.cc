#include "prefix_cache/prefix_picture.h"

#include <gtest/gtest.h>

#include <vector>

#include "prefix_cache/prefix_tree.h"

namespace millrace {
namespace {

class PrefixPictureTest : public testing::Test {
 protected:
  // `shared` tokens from 0 on, then `own` that begin with `first`.
  void Remember(int32_t shared, int32_t first, int32_t own, const std::string& space = "") {
    std::vector<TokenId> tokens;
    for (int32_t i = 0; i < shared; ++i) tokens.push_back(TokenId(i));
    for (int32_t i = 0; i < own; ++i) tokens.push_back(TokenId(first + i));
    auto blocks = pool_.TryAcquire(BlocksFor(shared + own));
    ASSERT_TRUE(blocks.has_value());
    PrefixTree::Cursor cursor;
    tree_.Extend(cursor, space, tokens, *blocks);
    if (keep_) kept_ = std::move(*blocks);
  }

  BlockPool pool_{32};
  PrefixTree tree_{pool_, {.max_pinned = 4}};
  bool keep_ = false;
  std::vector<BlockRef> kept_;
};

TEST_F(PrefixPictureTest, BlocksWithoutABranchAreOneRun) {
  Remember(64, 1000, 40);
  Remember(64, 2000, 10);
  const PrefixPicture picture = tree_.Picture(100);
  ASSERT_EQ(picture.runs.size(), 3u);
  EXPECT_EQ(picture.left_out, 0u);
  const PrefixRun& shared = picture.runs[0];
  EXPECT_FALSE(shared.before.has_value());
  EXPECT_EQ(shared.tokens, 64);
  EXPECT_EQ(shared.blocks, 2);
  EXPECT_EQ(shared.in_use, 0);
  ASSERT_EQ(shared.head.size(), 32u);
  EXPECT_EQ(shared.head[31], TokenId(31));
  int32_t tokens = 0;
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(picture.runs[i].before, 0u);
    tokens += picture.runs[i].tokens;
    EXPECT_LE(picture.runs[i].used, shared.used);
  }
  EXPECT_EQ(tokens, 50);
}

TEST_F(PrefixPictureTest, NamespacesStandApart) {
  Remember(32, 0, 0, "a");
  Remember(32, 0, 0, "b");
  const PrefixPicture picture = tree_.Picture(100);
  ASSERT_EQ(picture.runs.size(), 2u);
  EXPECT_NE(picture.runs[0].space, picture.runs[1].space);
}

TEST_F(PrefixPictureTest, KeepsTheLatestWithWhatLeadsThere) {
  Remember(32, 1000, 32);
  Remember(32, 2000, 32);
  keep_ = true;
  Remember(32, 3000, 32);
  const PrefixPicture picture = tree_.Picture(2);
  ASSERT_EQ(picture.runs.size(), 2u);
  EXPECT_EQ(picture.left_out, 2u);
  EXPECT_FALSE(picture.runs[0].before.has_value());
  EXPECT_EQ(picture.runs[1].before, 0u);
  EXPECT_EQ(picture.runs[1].head[0], TokenId(3000));
  EXPECT_EQ(picture.runs[1].in_use, 1);
}

TEST_F(PrefixPictureTest, OfNothing) { EXPECT_TRUE(tree_.Picture(10).runs.empty()); }

}  // namespace
}  // namespace millrace
