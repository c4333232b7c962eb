#include "prompt_reduction/reuse_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

using testing::ElementsAre;

std::vector<uint64_t> Ordered(ReuseOrder& order, std::vector<uint64_t> keys, uint64_t root = 0) {
  std::vector<uint64_t> out;
  for (const size_t i : order.Order(root, keys)) out.push_back(keys[i]);
  return out;
}

TEST(ReuseOrder, BeginsAsEarlierPromptsDid) {
  ReuseOrder order;
  EXPECT_THAT(Ordered(order, {5, 3, 9}), ElementsAre(5, 3, 9));
  // 3 alone begins nothing; 5 does, then 3.
  EXPECT_THAT(Ordered(order, {1, 3, 5}), ElementsAre(5, 3, 1));
  EXPECT_THAT(Ordered(order, {9, 3, 5, 7}), ElementsAre(5, 3, 9, 7));
  // Where most went.
  EXPECT_THAT(Ordered(order, {1, 9, 5, 3}), ElementsAre(5, 3, 9, 1));
  EXPECT_THAT(Ordered(order, {}), ElementsAre());
}

TEST(ReuseOrder, RootsKnowNothingOfEachOther) {
  ReuseOrder order;
  Ordered(order, {5, 3}, 1);
  EXPECT_THAT(Ordered(order, {3, 5}, 2), ElementsAre(3, 5));
  EXPECT_THAT(Ordered(order, {3, 5}, 1), ElementsAre(5, 3));
}

TEST(ReuseOrder, ForgetsTheLongestUnused) {
  ReuseOrder order(100);
  for (uint64_t i = 0; i < 1000; ++i) {
    Ordered(order, {2 * i + 10, 2 * i + 11});
    Ordered(order, {1, 2, 3});
    EXPECT_LE(order.nodes(), 100u);
  }
  EXPECT_THAT(Ordered(order, {3, 2, 1}), ElementsAre(1, 2, 3));
  EXPECT_THAT(Ordered(order, {11, 10}), ElementsAre(11, 10));
}

TEST(ReuseOrder, EqualKeysAreAllGiven) {
  ReuseOrder order;
  EXPECT_THAT(Ordered(order, {4, 4, 4}), ElementsAre(4, 4, 4));
  EXPECT_THAT(order.Order(0, std::vector<uint64_t>{4, 4}), testing::UnorderedElementsAre(0, 1));
}

}  // namespace
}  // namespace millrace
