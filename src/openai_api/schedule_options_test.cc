#include "openai_api/schedule_options.h"

#include <gtest/gtest.h>

#include <variant>

namespace millrace {
namespace {

ApiResult<CompletionRequest> Parse(const std::string& own) {
  return ParseCompletionRequest(R"({"prompt": "x", "millrace": )" + own + "}",
                                UnknownFields::kRefuse);
}

GenerationOptions OptionsOf(const std::string& own) {
  const auto parsed = Parse(own);
  EXPECT_TRUE(std::holds_alternative<CompletionRequest>(parsed)) << own;
  return std::get<CompletionRequest>(parsed).options;
}

TEST(ScheduleOptionsTest, PriorityByNameOrNumber) {
  EXPECT_EQ(OptionsOf("{}").priority, 0);
  EXPECT_EQ(OptionsOf(R"({"priority": null})").priority, 0);
  EXPECT_EQ(OptionsOf(R"({"priority": "low"})").priority, -1);
  EXPECT_EQ(OptionsOf(R"({"priority": "high"})").priority, 1);
  EXPECT_EQ(OptionsOf(R"({"priority": -2})").priority, -2);
  EXPECT_EQ(OptionsOf(R"({"priority": 2})").priority, 2);
}

TEST(ScheduleOptionsTest, DeadlineInMilliseconds) {
  EXPECT_FALSE(OptionsOf("{}").deadline_ms.has_value());
  EXPECT_EQ(OptionsOf(R"({"deadline_ms": 1500})").deadline_ms, 1500);
}

TEST(ScheduleOptionsTest, OtherValuesAreRefused) {
  const auto param_of = [](const std::string& own) {
    const auto parsed = Parse(own);
    const auto* error = std::get_if<ApiError>(&parsed);
    return error == nullptr ? std::string("accepted") : error->param;
  };
  for (const char* value : {"3", "-3", "1.5", "\"urgent\"", "true", "18446744073709551615"}) {
    EXPECT_EQ(param_of(std::string(R"({"priority": )") + value + "}"), "millrace.priority");
  }
  for (const char* value : {"0", "-1", "86400001", "1.5", "\"1\"", "18446744073709551615"}) {
    EXPECT_EQ(param_of(std::string(R"({"deadline_ms": )") + value + "}"), "millrace.deadline_ms");
  }
}

}  // namespace
}  // namespace millrace
