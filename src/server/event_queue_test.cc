#include "server/event_queue.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "server/worker_pool.h"

namespace millrace::server_internal {
namespace {

Event Numbered(int32_t number) {
  Event event;
  event.tokens.emplace_back().token = TokenId(number);
  return event;
}

// One thread pushes, several may drain: every event once, in order, never two at a time.
TEST(EventQueueTest, OrderIsKept) {
  constexpr int32_t kEvents = 20'000;
  EventQueue queue;
  std::vector<int32_t> seen;  // by one drain at a time, so without a lock
  {
    WorkerPool pool(3, kEvents);
    const auto drain = [&] {
      queue.Drain([&](size_t, const Event& event) { seen.push_back(event.tokens[0].token.value); });
    };
    for (int32_t i = 0; i < kEvents; ++i) {
      if (queue.Push(0, Numbered(i))) {
        EXPECT_TRUE(pool.Post(drain));
      }
    }
  }
  ASSERT_EQ(seen.size(), static_cast<size_t>(kEvents));
  for (int32_t i = 0; i < kEvents; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(EventQueueTest, WhoPushesFirstOwesTheDrain) {
  EventQueue queue;
  EXPECT_TRUE(queue.Push(0, Numbered(1)));
  EXPECT_FALSE(queue.Push(1, Numbered(2)));
  std::vector<size_t> choices;
  queue.Drain([&](size_t choice, const Event&) {
    choices.push_back(choice);
    if (choices.size() == 1) {
      EXPECT_FALSE(queue.Push(2, Numbered(3)));
    }
  });
  EXPECT_EQ(choices, (std::vector<size_t>{0, 1, 2}));
  EXPECT_TRUE(queue.Push(0, Numbered(4)));
}

}  // namespace
}  // namespace millrace::server_internal
