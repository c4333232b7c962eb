#include "lab/server_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "http/router.h"
#include "http/server.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(ServerCounters, LinesOfThePrometheusFormat) {
  const ServerCounters counters = ParseCounters(
      "# HELP a Help with 3 words.\n# TYPE a counter\n"
      "a 3\n"
      "b{end=\"a } b\",x=\"1\"} 2.5\nb{end=\"c\"} 4e1\n"
      "no value\nbad number\n\nlast{} 7");
  EXPECT_THAT(counters, UnorderedElementsAre(Pair("a", 3), Pair("b", 42.5), Pair("last", 7)));
}

TEST(ServerCounters, WhatGrewBetweenTwoLooks) {
  const ServerCounters before = {{"millrace:attention_seconds_total", 1},
                                 {"millrace:attention_intermediate_bytes_total", 0},
                                 {"millrace:preemptions_total", 2},
                                 {"millrace:kv_held_slot_steps_total", 1000},
                                 {"millrace:kv_unused_slot_steps_total", 500},
                                 {"millrace:kv_unusable_slot_steps_total", 0},
                                 {"millrace:kv_memory_bytes", 1 << 20}};
  const ServerCounters after = {{"millrace:attention_seconds_total", 1.5},
                                {"millrace:attention_intermediate_bytes_total", 3 << 20},
                                {"millrace:preemptions_total", 2},
                                {"millrace:kv_held_slot_steps_total", 3000},
                                {"millrace:kv_unused_slot_steps_total", 600},
                                {"millrace:kv_unusable_slot_steps_total", 40},
                                {"millrace:kv_memory_bytes", 2 << 20}};
  EXPECT_THAT(MetricsBetween(before, after),
              UnorderedElementsAre(Pair("attention_seconds", 0.5), Pair("attention_mib", 3),
                                   Pair("preemptions", 0), Pair("kv_unused_percent", 5),
                                   Pair("kv_unusable_percent", 2), Pair("kv_memory_mib", 2)));
}

TEST(ServerCounters, AServerThatCountsNothingOfIt) {
  EXPECT_TRUE(MetricsBetween({{"other", 1}}, {{"other", 2}}).empty());
}

// /metrics answers as told.
class MetricsRoute : public ::testing::Test {
 protected:
  void Answer(int status, std::string text) {
    Router router;
    router.Add("GET", "/metrics", [=](HttpRequest, Responder responder) {
      responder.Send(HttpResponse{status, "text/plain", text, {}});
    });
    server_.emplace(HttpConfig{}, router);
    ASSERT_TRUE(server_->Start().ok());
  }
  std::optional<HttpServer> server_;
};

TEST_F(MetricsRoute, IsRead) {
  Answer(200, "a 3\n");
  const auto counters = ReadCounters(server_->port());
  ASSERT_TRUE(counters.ok()) << counters.error().message;
  EXPECT_THAT(*counters, UnorderedElementsAre(Pair("a", 3)));
}

TEST_F(MetricsRoute, FailuresSayWhatWentWrong) {
  Answer(401, "a key, please");
  EXPECT_THAT(ReadCounters(server_->port()).error().message, HasSubstr("401"));
  const uint16_t gone = server_->port();
  server_.reset();
  EXPECT_THAT(ReadCounters(gone).error().message, HasSubstr("refused"));
}

}  // namespace
}  // namespace millrace
