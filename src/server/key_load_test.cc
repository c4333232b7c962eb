#include "server/key_load.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace millrace::server_internal {
namespace {

constexpr TimePoint kStart{std::chrono::hours(1)};

std::optional<KeyLoad::Ticket> Enter(KeyLoad& load, const std::string& key, int64_t tokens,
                                     const KeyLimits& limits, TimePoint now = kStart) {
  auto entered = load.TryEnter(key, tokens, limits, now);
  if (auto* ticket = std::get_if<KeyLoad::Ticket>(&entered)) return std::move(*ticket);
  return std::nullopt;
}

KeyLoad::Refusal Refused(KeyLoad& load, int64_t tokens, const KeyLimits& limits, TimePoint now) {
  const auto entered = load.TryEnter("a", tokens, limits, now);
  const auto* refusal = std::get_if<KeyLoad::Refusal>(&entered);
  EXPECT_NE(refusal, nullptr);
  return refusal != nullptr ? *refusal : KeyLoad::Refusal{};
}

TEST(KeyLoadTest, RequestsOfAKeyAreBounded) {
  KeyLoad load;
  const KeyLimits limits = {.requests = 2};
  auto first = Enter(load, "a", 10, limits);
  const auto second = Enter(load, "a", 10, limits);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(Enter(load, "a", 10, limits).has_value());
  EXPECT_TRUE(Enter(load, "b", 10, limits).has_value());
  first.reset();
  EXPECT_TRUE(Enter(load, "a", 10, limits).has_value());
}

TEST(KeyLoadTest, SoAreTheirTokensUnlessOneIsAlone) {
  KeyLoad load;
  const KeyLimits limits = {.tokens = 100};
  auto longest = Enter(load, "a", 500, limits);
  EXPECT_TRUE(longest.has_value());
  EXPECT_FALSE(Enter(load, "a", 1, limits).has_value());
  EXPECT_TRUE(Enter(load, "b", 1, limits).has_value());
  longest.reset();
  const auto half = Enter(load, "a", 50, limits);
  EXPECT_FALSE(Enter(load, "a", 51, limits).has_value());
  EXPECT_TRUE(Enter(load, "a", 50, limits).has_value());
  EXPECT_TRUE(half.has_value());
}

TEST(KeyLoadTest, ATicketThatMovesLeavesOnce) {
  KeyLoad load;
  const KeyLimits limits = {.requests = 1, .tokens = 100};
  {
    auto ticket = Enter(load, "a", 60, limits);
    ASSERT_TRUE(ticket.has_value());
    const KeyLoad::Ticket moved = std::move(*ticket);
    EXPECT_FALSE(Enter(load, "a", 1, limits).has_value());
  }
  EXPECT_TRUE(Enter(load, "a", 100, limits).has_value());
}

TEST(KeyLoadTest, ZeroIsNoLimit) {
  KeyLoad load;
  std::vector<KeyLoad::Ticket> tickets;
  for (int i = 0; i < 100; ++i) tickets.push_back(Enter(load, "a", 1'000'000, {}).value());
  EXPECT_TRUE(Enter(load, "a", 1, {}).has_value());
}

TEST(KeyLoadTest, RequestsPerMinuteComeBackEvenly) {
  KeyLoad load;
  const KeyLimits limits = {.requests_per_minute = 6};  // one in ten seconds
  TimePoint now = kStart;
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Enter(load, "a", 1, limits, now)) << i;
  const KeyLoad::Refusal refusal = Refused(load, 1, limits, now);
  EXPECT_EQ(refusal.limit, KeyLoad::Limit::kRequestsPerMinute);
  EXPECT_NEAR(Milliseconds(refusal.retry_after), 10'000, 1);
  EXPECT_TRUE(Enter(load, "b", 1, limits, now));
  now += std::chrono::milliseconds(9'990);
  EXPECT_FALSE(Enter(load, "a", 1, limits, now));
  now += std::chrono::milliseconds(11);  // a refusal took nothing
  EXPECT_TRUE(Enter(load, "a", 1, limits, now));
  EXPECT_FALSE(Enter(load, "a", 1, limits, now));
  now += std::chrono::hours(1);  // no more than a minute's worth is saved up
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Enter(load, "a", 1, limits, now)) << i;
  EXPECT_FALSE(Enter(load, "a", 1, limits, now));
}

TEST(KeyLoadTest, TokensPerMinuteCountPromptsAndAnswers) {
  KeyLoad load;
  const KeyLimits limits = {.tokens_per_minute = 600};  // ten a second
  EXPECT_TRUE(Enter(load, "a", 100, limits));
  load.Use("a", 800);  // an answer that was longer than the minute allows: 300 are owed
  const KeyLoad::Refusal refusal = Refused(load, 50, limits, kStart);
  EXPECT_EQ(refusal.limit, KeyLoad::Limit::kTokensPerMinute);
  EXPECT_NEAR(Milliseconds(refusal.retry_after), 35'000, 1);
  EXPECT_TRUE(Enter(load, "a", 50, limits, kStart + std::chrono::milliseconds(35'001)));
  // A prompt longer than a minute's worth is admitted by a full bucket.
  EXPECT_TRUE(Enter(load, "b", 5000, limits));
  EXPECT_FALSE(Enter(load, "b", 1, limits));
}

}  // namespace
}  // namespace millrace::server_internal
