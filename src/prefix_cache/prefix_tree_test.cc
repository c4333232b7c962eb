#include "prefix_cache/prefix_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

// `count` tokens that go up from `first`.
Tokens Rising(int32_t first, int32_t count) {
  Tokens tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(TokenId(first + i));
  return tokens;
}

Tokens Joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class PrefixTreeTest : public testing::Test {
 protected:
  // Makes `tokens` known, in fresh blocks, and lets them go. Returns the ids of the blocks.
  std::vector<BlockId> Remember(const Tokens& tokens, const std::string& space = "") {
    auto blocks = pool_.TryAcquire(BlocksFor(static_cast<int32_t>(tokens.size())));
    CHECK(blocks.has_value());
    PrefixTree::Cursor cursor;
    tree_.Extend(cursor, space, tokens, *blocks);
    EXPECT_TRUE(tree_.IsConsistent());
    std::vector<BlockId> ids;
    for (const BlockRef& block : *blocks) ids.push_back(block.id());
    return ids;
  }
  int32_t Count(const Tokens& tokens, const std::string& space = "") {
    return tree_.Count(space, tokens);
  }

  BlockPool pool_{16};
  PrefixTree tree_{pool_, {.max_pinned = 4}};
};

TEST_F(PrefixTreeTest, NothingIsKnownAtFirst) {
  EXPECT_EQ(Count(Rising(0, 100)), 0);
  const PrefixTree::Match match = tree_.Find("", Rising(0, 100));
  EXPECT_TRUE(match.blocks.empty());
  EXPECT_FALSE(match.partial);
  EXPECT_EQ(tree_.Evict(5), 0);
}

TEST_F(PrefixTreeTest, WholeBlocksAndAPartOfTheNext) {
  const auto ids = Remember(Rising(0, 80));  // 32 + 32 + 16
  EXPECT_EQ(pool_.held(), 3);
  EXPECT_EQ(pool_.reclaimable(), 3);
  const PrefixTree::Match match = tree_.Find("", Rising(0, 100));
  ASSERT_EQ(match.blocks.size(), 2u);
  EXPECT_EQ(match.blocks[0].id(), ids[0]);
  EXPECT_EQ(match.blocks[1].id(), ids[1]);
  EXPECT_EQ(match.partial.id(), ids[2]);
  EXPECT_EQ(match.partial_tokens, 16);
  EXPECT_EQ(match.tokens(), 80);
  EXPECT_EQ(pool_.reclaimable(), 0);
  // A whole block serves in part, too.
  EXPECT_EQ(Count(Rising(0, 63)), 63);
  EXPECT_EQ(tree_.Find("", Rising(0, 63)).partial_tokens, 31);
  EXPECT_EQ(Count(Joined(Rising(0, 40), Rising(500, 40))), 40);
  EXPECT_EQ(Count(Rising(1, 63)), 0);
}

TEST_F(PrefixTreeTest, TheSiblingThatSharesMostIsFound) {
  const Tokens begin = Rising(0, 32);
  Remember(Joined(begin, Joined(Rising(100, 3), Rising(7, 29))));
  Remember(Joined(begin, Joined(Rising(100, 9), Rising(3, 23))));
  Remember(Joined(begin, Joined(Rising(100, 20), Rising(9000, 12))));
  Remember(Joined(begin, Rising(9, 32)));
  EXPECT_EQ(tree_.stats().nodes, 5);
  for (int32_t common = 0; common <= 32; ++common) {
    const Tokens prompt = Joined(begin, Joined(Rising(100, common), Rising(9999, 40)));
    EXPECT_EQ(Count(prompt), 32 + std::min(common, 20)) << common;
  }
}

TEST_F(PrefixTreeTest, ALongerTailTakesThePlaceOfAShorterOne) {
  const auto first = Remember(Rising(0, 40));
  const auto second = Remember(Rising(0, 50));
  EXPECT_EQ(tree_.stats().nodes, 2);
  EXPECT_EQ(pool_.held(), 2);
  EXPECT_EQ(tree_.Find("", Rising(0, 50)).partial.id(), second[1]);
  EXPECT_EQ(tree_.Find("", Rising(0, 50)).blocks[0].id(), first[0]);
  Remember(Rising(0, 45));  // known already
  EXPECT_EQ(tree_.Find("", Rising(0, 64)).partial.id(), second[1]);
  Remember(Joined(Rising(0, 45), Rising(900, 19)));  // a whole block, which the tail does not begin
  EXPECT_EQ(tree_.stats().nodes, 3);
}

TEST_F(PrefixTreeTest, ASequenceThatRunsMakesItsBlocksKnownAsItGoes) {
  auto blocks = pool_.TryAcquire(3).value();
  const Tokens tokens = Rising(0, 90);
  PrefixTree::Cursor cursor;
  for (int32_t computed = 1; computed <= 90; ++computed) {
    tree_.Extend(cursor, "", std::span(tokens).first(static_cast<size_t>(computed)), blocks);
    EXPECT_EQ(Count(tokens), computed);
    EXPECT_EQ(tree_.stats().nodes, BlocksFor(computed));
    EXPECT_EQ(cursor.blocks, computed / kBlockTokens);
    ASSERT_TRUE(tree_.IsConsistent());
  }
  EXPECT_EQ(pool_.held(), 3);
  EXPECT_EQ(pool_.reclaimable(), 0);
  EXPECT_EQ(tree_.Evict(3), 0);
  blocks.clear();
  EXPECT_EQ(pool_.reclaimable(), 3);
}

TEST_F(PrefixTreeTest, BlocksComputedTwiceBecomeOne) {
  auto mine = pool_.TryAcquire(3).value();
  auto yours = pool_.TryAcquire(3).value();
  PrefixTree::Cursor my_cursor, your_cursor;
  tree_.Extend(my_cursor, "", Rising(0, 80), mine);
  const BlockId tail = yours[2].id();
  tree_.Extend(your_cursor, "", Rising(0, 80), yours);
  EXPECT_EQ(yours[0].id(), mine[0].id());
  EXPECT_EQ(yours[1].id(), mine[1].id());
  EXPECT_EQ(yours[2].id(), tail);  // still to be written
  EXPECT_EQ(pool_.held(), 4);
  EXPECT_EQ(tree_.stats().shared, 2);
  EXPECT_TRUE(tree_.IsConsistent());
}

TEST_F(PrefixTreeTest, NamespacesAreApart) {
  Remember(Rising(0, 64), "alice");
  EXPECT_EQ(Count(Rising(0, 64), "alice"), 64);
  EXPECT_EQ(Count(Rising(0, 64), "bob"), 0);
  EXPECT_EQ(Count(Rising(0, 64)), 0);
  Remember(Rising(0, 64), "bob");
  EXPECT_EQ(pool_.held(), 4);
}

TEST_F(PrefixTreeTest, TheLeastRecentlyUsedGoesFirstAndLeavesBeforeParents) {
  Remember(Rising(0, 64));
  Remember(Rising(1000, 64));
  Remember(Rising(2000, 64));
  tree_.Touch(tree_.Find("", Rising(0, 64)));
  EXPECT_EQ(tree_.Evict(1), 1);
  EXPECT_EQ(Count(Rising(1000, 64)), 32);
  EXPECT_EQ(tree_.Evict(1), 1);
  EXPECT_EQ(Count(Rising(1000, 64)), 0);
  EXPECT_EQ(tree_.Evict(2), 2);
  EXPECT_EQ(Count(Rising(2000, 64)), 0);
  EXPECT_EQ(Count(Rising(0, 64)), 64);
  EXPECT_EQ(tree_.Evict(9), 2);
  EXPECT_EQ(pool_.held(), 0);
  EXPECT_EQ(tree_.stats().evicted, 6);
}

TEST_F(PrefixTreeTest, WhatIsCheapToComputeGoesBeforeWhatIsDear) {
  Remember(Rising(0, 32));     // a whole block, used longest ago
  Remember(Rising(1000, 3));   // three tokens
  Remember(Rising(2000, 20));  // twenty
  tree_.Evict(1);
  EXPECT_EQ(Count(Rising(1000, 3)), 0);
  tree_.Evict(1);
  EXPECT_EQ(Count(Rising(2000, 20)), 0);
  EXPECT_EQ(Count(Rising(0, 32)), 32);
}

TEST_F(PrefixTreeTest, DepthCosts) {
  BlockPool pool(64);
  PrefixTree tree(pool, {.max_pinned = 0, .position_cost = 1.0});
  const auto remember = [&](const Tokens& tokens) {
    auto blocks = pool.TryAcquire(BlocksFor(static_cast<int32_t>(tokens.size()))).value();
    PrefixTree::Cursor cursor;
    tree.Extend(cursor, "", tokens, blocks);
  };
  remember(Rising(0, 320));
  remember(Rising(1000, 32));  // later, but at position 0
  tree.Evict(1);
  EXPECT_EQ(tree.Count("", Rising(1000, 32)), 0);
  EXPECT_EQ(tree.Count("", Rising(0, 320)), 320);
}

// The floor rises with what goes, so that nothing stays for ever for having been dear once.
TEST_F(PrefixTreeTest, WhatIsNeverUsedGoesInTheEndHoweverDear) {
  Remember(Rising(0, 128));
  for (int32_t i = 0; i < 400; ++i) {
    if (pool_.available() == 0) tree_.Evict(1);
    Remember(Rising(10000 + 100 * i, 8));
  }
  EXPECT_EQ(Count(Rising(0, 128)), 0);
}

TEST_F(PrefixTreeTest, WhatIsInUseStays) {
  Remember(Rising(0, 64));
  Remember(Rising(1000, 64));
  const PrefixTree::Match used = tree_.Find("", Rising(0, 64));
  EXPECT_EQ(tree_.Evict(16), 2);
  EXPECT_EQ(Count(Rising(0, 64)), 64);
  EXPECT_EQ(Count(Rising(1000, 64)), 0);
}

TEST_F(PrefixTreeTest, PinsKeepABeginning) {
  Remember(Rising(0, 96));
  Remember(Joined(Rising(0, 64), Rising(500, 64)));
  EXPECT_EQ(tree_.Pin("", Rising(0, 70)), 2);
  EXPECT_EQ(pool_.reclaimable(), 3);
  EXPECT_EQ(tree_.Evict(16), 3);
  EXPECT_EQ(Count(Rising(0, 96)), 64);
  EXPECT_TRUE(tree_.IsConsistent());
  tree_.Unpin("", Rising(0, 40));  // the first begins the second, which stays pinned
  EXPECT_EQ(tree_.stats().pinned, 2);
  tree_.Unpin("", Rising(0, 64));
  EXPECT_EQ(tree_.stats().pinned, 0);
  EXPECT_EQ(tree_.Evict(16), 2);
}

TEST_F(PrefixTreeTest, PinsAreBounded) {
  Remember(Rising(0, 320));
  EXPECT_EQ(tree_.Pin("", Rising(0, 320)), 4);
  EXPECT_EQ(tree_.Pin("", Rising(0, 320)), 4);
  EXPECT_EQ(tree_.stats().pinned, 4);
  EXPECT_EQ(tree_.Evict(16), 6);
  tree_.UnpinAll();
  EXPECT_EQ(tree_.Evict(16), 4);
  EXPECT_EQ(tree_.Pin("", Rising(0, 320)), 0);
}

TEST_F(PrefixTreeTest, WhatIsEvictedIsNamedByItsWholeBeginning) {
  Remember(Rising(0, 70), "alice");
  const Digest first = ChainOf(ChainOf("alice"), Rising(0, 32));
  const Digest second = ChainOf(first, Rising(32, 32));
  std::vector<Digest> visited, evicted;
  tree_.ForEachBlock([&](const KnownBlock& block) { visited.push_back(block.chain); });
  EXPECT_THAT(visited, testing::ElementsAre(second, first));
  tree_.OnEvict([&](const KnownBlock& block) {
    EXPECT_EQ(block.tokens.size(), static_cast<size_t>(kBlockTokens));
    evicted.push_back(block.chain);
  });
  EXPECT_EQ(tree_.Evict(9), 3);  // the part of a block has no name
  EXPECT_THAT(evicted, testing::ElementsAre(second, first));
  EXPECT_NE(ChainOf(ChainOf("bob"), Rising(0, 32)), first);
}

TEST_F(PrefixTreeTest, ALongChainIsDestroyed) {
  BlockPool pool(100'000);
  PrefixTree tree(pool, {});
  const Tokens tokens(static_cast<size_t>(100'000) * kBlockTokens, TokenId(7));
  auto blocks = pool.TryAcquire(100'000).value();
  PrefixTree::Cursor cursor;
  tree.Extend(cursor, "", tokens, blocks);
  EXPECT_EQ(tree.stats().nodes, 100'000);
}

}  // namespace
}  // namespace millrace
