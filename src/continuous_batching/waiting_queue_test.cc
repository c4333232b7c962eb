#include "continuous_batching/waiting_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <set>

#include "base/rng.h"
#include "continuous_batching/scheduler.h"

namespace millrace {
namespace {

RequestId FirstOf(const WaitingQueue& queue) { return queue.Turns().at(0).requests.at(0); }

std::vector<int64_t> OrderOf(WaitingQueue& queue, int64_t tokens_each) {
  std::vector<int64_t> order;
  while (!queue.empty()) {
    const RequestId next = FirstOf(queue);
    queue.Begin(next, tokens_each);
    order.push_back(next.value);
  }
  return order;
}

TEST(WaitingQueueTest, OneClientIsServedInOrderOfArrival) {
  WaitingQueue queue({});
  for (int i = 0; i < 4; ++i) queue.Add(RequestId(i), "", 0);
  EXPECT_EQ(OrderOf(queue, 10), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(WaitingQueueTest, TheClientThatWasServedLeastIsNext) {
  WaitingQueue queue({});
  for (int i = 0; i < 4; ++i) queue.Add(RequestId(i), "flood", 0);
  queue.Begin(RequestId(0), 100);
  queue.Add(RequestId(10), "late", 0);  // lifted to what "flood" was served: 100
  queue.Add(RequestId(11), "late", 0);
  EXPECT_EQ(queue.Served("late"), 100);
  EXPECT_EQ(OrderOf(queue, 50), (std::vector<int64_t>{1, 10, 2, 11, 3}));
}

TEST(WaitingQueueTest, OutputCounts) {
  WaitingQueue queue({});
  queue.Add(RequestId(0), "a", 0);
  queue.Begin(RequestId(0), 10);
  queue.Add(RequestId(1), "a", 0);
  queue.Add(RequestId(2), "b", 0);
  EXPECT_EQ(FirstOf(queue), RequestId(1));  // equal: who came first
  queue.Generated(RequestId(0), 3);
  EXPECT_EQ(queue.Served("a"), 10 + 3 * WaitingQueue::kOutputWeight);
  EXPECT_EQ(FirstOf(queue), RequestId(2));
}

TEST(WaitingQueueTest, NobodySavesUpClaims) {
  WaitingQueue queue({});
  queue.Add(RequestId(0), "idle", 0);
  queue.Begin(RequestId(0), 1);
  for (int i = 1; i < 9; ++i) {
    queue.Add(RequestId(i), "busy", 0);
    queue.Begin(RequestId(i), 1000);
  }
  queue.Add(RequestId(10), "idle", 0);  // nobody waits: lifted to who left last
  EXPECT_EQ(queue.Served("idle"), queue.Served("busy"));
}

TEST(WaitingQueueTest, HigherPrioritiesFirstButTheOldestIsNotPassedForEver) {
  WaitingQueue queue({.max_passes = 2});
  queue.Add(RequestId(0), "", -1);
  queue.Add(RequestId(1), "", -1);
  for (int i = 2; i < 8; ++i) queue.Add(RequestId(i), "", 1);
  EXPECT_EQ(OrderOf(queue, 1), (std::vector<int64_t>{2, 3, 0, 4, 5, 1, 6, 7}));
}

TEST(WaitingQueueTest, PrioritiesDoNotCountBetweenClients) {
  WaitingQueue queue({});
  for (int i = 0; i < 3; ++i) queue.Add(RequestId(i), "greedy", 2);
  for (int i = 3; i < 6; ++i) queue.Add(RequestId(i), "modest", -2);
  EXPECT_EQ(OrderOf(queue, 5), (std::vector<int64_t>{0, 3, 1, 4, 2, 5}));
}

TEST(WaitingQueueTest, PreemptedOnesComeFirst) {
  WaitingQueue queue({});
  for (int i = 0; i < 3; ++i) queue.Add(RequestId(i), "", 0);
  queue.Begin(RequestId(0), 1);
  queue.Begin(RequestId(1), 1);
  queue.Add(RequestId(3), "", 5);
  queue.PutBack(RequestId(1));
  queue.PutBack(RequestId(0));
  EXPECT_TRUE(queue.Turns().at(0).due);
  EXPECT_FALSE(queue.MayBeOvertaken(RequestId(1)));
  EXPECT_EQ(OrderOf(queue, 0), (std::vector<int64_t>{0, 1, 3, 2}));
}

// The bound for low priorities, over random arrivals: with k older ones of the client before it, a
// sequence begins within (k + 1) * (max_passes + 1) of the client's.
TEST(WaitingQueuePropertyTest, NobodyStarves) {
  int64_t longest_wait = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    CounterRng rng(seed, 3);
    const auto below = [&](uint64_t n) { return static_cast<int32_t>(rng.NextU64() % n); };
    const int32_t passes = below(5);
    WaitingQueue queue(
        {.reorder_window = below(5) + 1, .max_overtakes = below(4), .max_passes = passes});
    struct Waiter {
      int64_t begun_before = 0;  // of its client's, when it came
      int64_t older = 0;
    };
    std::map<RequestId, Waiter> waiting[2];
    int64_t begun[2] = {0, 0};
    int64_t next_id = 0;
    for (int step = 0; step < 2000; ++step) {
      if (queue.size() < 40 && below(2) == 0) {
        const int client = below(2);
        const RequestId id(next_id++);
        queue.Add(id, std::string(1, static_cast<char>('a' + client)), below(3));
        waiting[client][id] = {begun[client], static_cast<int64_t>(waiting[client].size())};
      } else if (!queue.empty()) {
        const auto turns = queue.Turns();  // any of a turn may begin
        const auto& turn = turns[0].requests;
        const RequestId id = turn[static_cast<size_t>(below(turn.size()))];
        const int client = waiting[0].contains(id) ? 0 : 1;
        queue.Begin(id, below(100));
        ++begun[client];
        const Waiter waiter = waiting[client].at(id);
        const int64_t wait = begun[client] - waiter.begun_before;
        ASSERT_LE(wait, (waiter.older + 1) * (passes + 1));
        longest_wait = std::max(longest_wait, wait);
        waiting[client].erase(id);
        if (below(4) == 0) queue.Erase(id);
      }
    }
  }
  EXPECT_GT(longest_wait, 30);
}

// The bound of the virtual token counters, through the scheduler: clients that wait all the time
// are served alike, whatever they ask for. `fair`: else all are of one client, in order of arrival.
int64_t LargestDifference(uint64_t seed, bool fair, int64_t& bound) {
  CounterRng rng(seed, 4);
  const auto below = [&](int32_t n) {
    return static_cast<int32_t>(rng.NextU64() % static_cast<uint64_t>(n));
  };
  BlockPool pool(64);
  Scheduler scheduler({.max_running = 8, .max_step_tokens = 64, .max_chunk = 32}, pool);
  struct Live {
    int32_t client, prompt, length, end;
  };
  std::map<RequestId, Live> live;
  int64_t next_id = 0;
  int64_t served[3] = {0, 0, 0};  // by the test's own count
  int32_t waits[3] = {0, 0, 0};
  int32_t longest_prompt = 0;
  int64_t most_together = 0;
  std::set<RequestId> begun;
  int64_t largest = 0;
  for (int step = 0; step < 3000; ++step) {
    // Client 0 floods with long ones, 1 sends middling ones, 2 short ones.
    for (int32_t c = 0; c < 3; ++c) {
      while (waits[c] < (c == 0 ? 20 : 3)) {
        const int32_t prompt = below(c == 0 ? 300 : c == 1 ? 60 : 10) + 1;
        const RequestId id(next_id++);
        live[id] = {c, prompt, prompt, prompt + below(c == 0 ? 200 : 50) + 1};
        const std::string name(fair ? 1 : 0, static_cast<char>('a' + c));
        scheduler.Add(id, prompt, live[id].end, std::nullopt, {.client = name});
        longest_prompt = std::max(longest_prompt, prompt);
        ++waits[c];
      }
    }
    const StepPlan plan = scheduler.PlanStep();
    for (const Admission& admission : plan.admitted) {
      if (!begun.insert(admission.request).second) continue;
      const Live& l = live.at(admission.request);
      served[l.client] += WaitingQueue::kInputWeight * l.prompt;
      --waits[l.client];
    }
    int64_t together = 0;
    for (const RequestId id : begun) together += live.at(id).end;
    most_together = std::max(most_together, together);
    std::vector<int32_t> appended;
    std::vector<RequestId> ended;
    for (const Slice& slice : plan.slices) {
      appended.push_back(slice.samples ? 1 : 0);
      Live& l = live.at(slice.request);
      if (!slice.samples) continue;
      served[l.client] += WaitingQueue::kOutputWeight;
      if (++l.length == l.end) ended.push_back(slice.request);
    }
    scheduler.Commit(plan, appended);
    for (const RequestId id : ended) {
      scheduler.Remove(id);
      live.erase(id);
      begun.erase(id);
    }
    const auto [least, most] = std::minmax_element(std::begin(served), std::end(served));
    largest = std::max(largest, *most - *least);
  }
  bound = 2 * std::max<int64_t>(WaitingQueue::kInputWeight * longest_prompt,
                                WaitingQueue::kOutputWeight * most_together);
  return largest;
}

TEST(FairnessPropertyTest, ClientsThatWaitAreServedAlike) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    int64_t bound = 0;
    EXPECT_LE(LargestDifference(seed, true, bound), bound) << seed;
  }
}

TEST(FairnessPropertyTest, InOrderOfArrivalTheyAreNot) {
  int64_t bound = 0;
  EXPECT_GT(LargestDifference(0, false, bound), bound);
}

}  // namespace
}  // namespace millrace
