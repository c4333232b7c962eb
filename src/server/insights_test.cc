#include "server/insights.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace millrace::server_internal {
namespace {

TEST(Insights, SumsAndRatiosByHand) {
  const TimePoint start{};
  Insights insights(start);
  Usage old;
  old.prompt_tokens = 100;
  old.cached_tokens = 60;
  old.prefill_ms = 10;
  old.decode_ms = 30;
  old.cached_saved_ms = 40;
  old.dropped_passages = 3;
  old.dropped_passage_tokens = 200;
  old.reduction_saved_ms = 21;
  old.reduction_ms = 1;
  insights.Add(start + std::chrono::seconds(1), old, {});
  Usage late = old;
  late.cached_tokens = 0;
  late.cached_saved_ms = 0;
  late.reduction_saved_ms = 0;
  late.speculation_saved_ms = -8;  // drafting cost more than it gained
  insights.Add(start + std::chrono::seconds(90), late, {});
  const auto json = nlohmann::json::parse(insights.Json(start + std::chrono::seconds(100), {}));
  EXPECT_EQ(json["now"]["requests"], 1);  // the first is older than a minute
  EXPECT_EQ(json["now"]["seconds"], 60);
  EXPECT_EQ(json["now"]["optimisations"][0]["saved_ms"], 0);
  EXPECT_EQ(json["now"]["optimisations"][1]["ratio"], 40.0 / 32);
  EXPECT_EQ(json["now"]["optimisations"][2]["switch"], "reduce");
  EXPECT_EQ(json["now"]["optimisations"][2]["saved_ms"], -1);  // choosing alone
  EXPECT_EQ(json["since_start"]["optimisations"][2]["saved_ms"], 19);
  EXPECT_EQ(json["since_start"]["dropped_passage_tokens"], 400);
  EXPECT_EQ(json["since_start"]["requests"], 2);
  EXPECT_EQ(json["since_start"]["seconds"], 100);
  EXPECT_EQ(json["since_start"]["optimisations"][0]["ratio"], 80.0 / 120);
}

TEST(Insights, NothingServedNothingClaimed) {
  Insights insights(TimePoint{});
  const auto json = nlohmann::json::parse(insights.Json(TimePoint{} + std::chrono::seconds(5), {}));
  EXPECT_EQ(json["now"]["requests"], 0);
  EXPECT_EQ(json["now"]["seconds"], 5);
  EXPECT_TRUE(json["now"]["optimisations"][0]["ratio"].is_null());
}

}  // namespace
}  // namespace millrace::server_internal
