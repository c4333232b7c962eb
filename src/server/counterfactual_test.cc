#include "server/counterfactual.h"

#include <gtest/gtest.h>

namespace millrace::server_internal {
namespace {

using std::chrono::milliseconds;

// A step takes 10 ms and 1 ms a decode row; a prefill row adds 2 ms.
StepCost Cost() {
  StepCost cost;
  for (int i = 0; i < 50; ++i) {
    cost.Observe(1, 0, milliseconds(11));
    cost.Observe(8, 0, milliseconds(18));
    cost.Observe(1, 10, milliseconds(31));
  }
  return cost;
}

ServedBy Engine(int32_t places, int32_t blocks = 1000) {
  SchedulerConfig config;
  config.max_running = places;
  config.target_interval = milliseconds(100);
  return {.scheduler = config, .cost = Cost(), .blocks = blocks};
}

ServedRequest Request(double arrival_ms, int32_t prompt, int32_t cached, int32_t output) {
  return {.arrival_ms = arrival_ms,
          .total_ms = 1000,
          .prompt_tokens = prompt,
          .cached_tokens = cached,
          .output_steps = output,
          .max_tokens = output};
}

// By hand: 20 rows of prefill give the first token, four steps the others.
TEST(Counterfactual, OneRequestByHand) {
  const std::vector requests = {Request(5, 100, 80, 5)};
  EXPECT_NEAR(*MeanRequestMs(requests, Engine(4), {}), 20 * 2 + 4 * 11, 1);
  EXPECT_NEAR(*MeanRequestMs(requests, Engine(4), {.prefix_cache = true}), 100 * 2 + 4 * 11, 1);
  EXPECT_NEAR(*MeanRequestMs(requests, Engine(4), {.step_factor = 1.5}), 1.5 * (40 + 44), 1.5);
}

TEST(Counterfactual, WhatTheEngineHasNoPartInStays) {
  std::vector requests = {Request(5, 100, 80, 5)};
  const double before = *MeanRequestMs(requests, Engine(4), {});
  requests[0].outside_ms = 30;
  EXPECT_DOUBLE_EQ(*MeanRequestMs(requests, Engine(4), {}), before + 30);
}

// Alone, there is nothing to batch and nothing to waste.
TEST(Counterfactual, ARequestAtATimeGainsNothingFromBatching) {
  std::vector<ServedRequest> requests;
  for (int i = 0; i < 10; ++i) {
    requests.push_back(Request(5000.0 * i, 50, 0, 10));
    requests.back().total_ms = 200;
  }
  const double with = *MeanRequestMs(requests, Engine(4), {});
  EXPECT_DOUBLE_EQ(*MeanRequestMs(requests, Engine(4), {.continuous = true}), with);
  EXPECT_DOUBLE_EQ(*MeanRequestMs(requests, Engine(4), {.paged = true}), with);
}

// One long answer and many short ones: in a static batch the short ones' places stay empty.
TEST(Counterfactual, StaticBatchesMakeTheOthersWait) {
  std::vector<ServedRequest> requests = {Request(0, 10, 0, 200)};
  for (int i = 0; i < 20; ++i) requests.push_back(Request(i, 10, 0, 5));
  for (ServedRequest& r : requests) r.total_ms = 5000;
  const double with = *MeanRequestMs(requests, Engine(2), {});
  const double without = *MeanRequestMs(requests, Engine(2), {.continuous = true});
  // Two places: the long one's partner ends after 5 steps, and the other 19 wait for 195 more.
  EXPECT_GT(without, with + 1000);
}

// Room for one region of what an answer might need, but for all of what they are.
TEST(Counterfactual, RegionsLetFewerIn) {
  std::vector<ServedRequest> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(Request(0, 20, 0, 20));
    requests.back().max_tokens = 500;
  }
  const int32_t blocks = BlocksFor(20 + 500) + 1;
  const double with = *MeanRequestMs(requests, Engine(4, blocks), {});
  const double without = *MeanRequestMs(requests, Engine(4, blocks), {.paged = true});
  // By hand, alone: 20 rows at 2 ms, 19 steps at 11 ms; one after the other on average 2.5 times
  // that.
  EXPECT_NEAR(without, 2.5 * (20 * 2 + 19 * 11), 1);
  EXPECT_LT(with, 0.8 * without);
}

// Clients that wait for their answers do not come more often where answers take longer.
TEST(Counterfactual, NeverMoreAtOnceThanThereWere) {
  std::vector<ServedRequest> requests;
  for (int i = 0; i < 20; ++i) {
    requests.push_back(Request(50.0 * i, 100, 95, 3));
    requests.back().total_ms = 50;  // one client, without a pause
  }
  const double alone =
      *MeanRequestMs(std::vector{Request(0, 100, 95, 3)}, Engine(4), {.prefix_cache = true});
  EXPECT_NEAR(*MeanRequestMs(requests, Engine(4), {.prefix_cache = true}), alone, 1e-6);
}

TEST(Counterfactual, NothingKnownNothingClaimed) {
  const std::vector requests = {Request(0, 10, 0, 5)};
  EXPECT_FALSE(MeanRequestMs({}, Engine(4), {}).has_value());
  ServedBy unmeasured = Engine(4);
  unmeasured.cost = StepCost();
  EXPECT_FALSE(MeanRequestMs(requests, unmeasured, {}).has_value());
  const std::vector endless = {Request(0, 10, 0, 1'000'000)};
  EXPECT_FALSE(MeanRequestMs(endless, Engine(4, 100'000), {}).has_value());
}

}  // namespace
}  // namespace millrace::server_internal
