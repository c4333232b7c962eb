#include "server/key_load.h"

#include <gtest/gtest.h>

namespace millrace::server_internal {
namespace {

TEST(KeyLoadTest, RequestsOfAKeyAreBounded) {
  KeyLoad load;
  const KeyLoad::Limits limits = {.requests = 2};
  auto first = load.TryEnter("a", 10, limits);
  const auto second = load.TryEnter("a", 10, limits);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(load.TryEnter("a", 10, limits).has_value());
  EXPECT_TRUE(load.TryEnter("b", 10, limits).has_value());
  first.reset();
  EXPECT_TRUE(load.TryEnter("a", 10, limits).has_value());
}

TEST(KeyLoadTest, SoAreTheirTokensUnlessOneIsAlone) {
  KeyLoad load;
  const KeyLoad::Limits limits = {.tokens = 100};
  auto longest = load.TryEnter("a", 500, limits);
  EXPECT_TRUE(longest.has_value());
  EXPECT_FALSE(load.TryEnter("a", 1, limits).has_value());
  EXPECT_TRUE(load.TryEnter("b", 1, limits).has_value());
  longest.reset();
  const auto half = load.TryEnter("a", 50, limits);
  EXPECT_FALSE(load.TryEnter("a", 51, limits).has_value());
  EXPECT_TRUE(load.TryEnter("a", 50, limits).has_value());
  EXPECT_TRUE(half.has_value());
}

TEST(KeyLoadTest, ATicketThatMovesLeavesOnce) {
  KeyLoad load;
  const KeyLoad::Limits limits = {.requests = 1, .tokens = 100};
  {
    auto ticket = load.TryEnter("a", 60, limits);
    ASSERT_TRUE(ticket.has_value());
    const KeyLoad::Ticket moved = std::move(*ticket);
    EXPECT_FALSE(load.TryEnter("a", 1, limits).has_value());
  }
  EXPECT_TRUE(load.TryEnter("a", 100, limits).has_value());
}

TEST(KeyLoadTest, ZeroIsNoLimit) {
  KeyLoad load;
  std::vector<KeyLoad::Ticket> tickets;
  for (int i = 0; i < 100; ++i) tickets.push_back(load.TryEnter("a", 1'000'000, {}).value());
  EXPECT_TRUE(load.TryEnter("a", 1, {}).has_value());
}

}  // namespace
}  // namespace millrace::server_internal
