#include "lab/trace.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

constexpr char kColumns[] = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

TEST(AzureTrace, ReadsRequestsAndCountsTimeFromTheFirst) {
  const auto trace = ParseAzureTrace(std::string(kColumns) +
                                     "2023-11-16 23:59:59.5000000,374,44\r\n"
                                     "\n"
                                     "2023-11-17 00:00:01.2500000,91,16")
                         .value();
  ASSERT_EQ(trace.size(), 2u);
  EXPECT_EQ(trace[0].arrival_seconds, 0);
  EXPECT_EQ(trace[0].input_tokens, 374);
  EXPECT_EQ(trace[0].output_tokens, 44);
  EXPECT_TRUE(trace[0].prefix_blocks.empty());
  EXPECT_DOUBLE_EQ(trace[1].arrival_seconds, 1.75);
}

TEST(AzureTrace, SaysWhichLineIsWrong) {
  const auto message = [](const std::string& lines) {
    return ParseAzureTrace(kColumns + lines).error().message;
  };
  EXPECT_EQ(ParseAzureTrace("a,b,c\n").error().message,
            "line 1 of the trace: the columns must be TIMESTAMP,ContextTokens,GeneratedTokens");
  EXPECT_EQ(message("2023-11-16 18:15:46,1,2\n2023-11-16 18:15:46,1\n"),
            "line 3 of the trace: it must have three columns");
  for (const char* time : {"", "yesterday", "2023-13-16 18:15:46", "2023-11-31 18:15:46",
                           "2023-11-16 24:15:46", "2023-11-16 18:15:nan", "2023-11-16T18:15:46"}) {
    EXPECT_EQ(message(std::string(time) + ",1,2"),
              "line 2 of the trace: the time must be like 2023-11-16 18:15:46.680")
        << time;
  }
  for (const char* lengths : {"0,2", "-1,2", "1,-2", "1.5,2", "1,", ",2", "1,2,3", "1,999999999999",
                              "x,2", "99999999999999999999,1"}) {
    EXPECT_EQ(message(std::string("2023-11-16 18:15:46,") + lengths),
              "line 2 of the trace: ContextTokens (at least 1) and GeneratedTokens must be whole "
              "numbers")
        << lengths;
  }
  EXPECT_EQ(message("2023-11-16 18:15:46,1,2\n2023-11-16 18:15:45,1,2"),
            "line 3 of the trace: its time lies before the one above it");
  EXPECT_EQ(message(""), "the trace holds no requests");
}

TEST(MooncakeTrace, ReadsRequestsAndTheirBlocks) {
  const auto trace =
      ParseMooncakeTrace(
          R"({"timestamp": 0, "input_length": 513, "output_length": 0, "hash_ids": [7, 9]})"
          "\n"
          R"({"timestamp": 1000, "input_length": 512, "output_length": 3, "hash_ids": [7]})")
          .value();
  ASSERT_EQ(trace.size(), 2u);
  EXPECT_EQ(trace[0].prefix_blocks, (std::vector<int64_t>{7, 9}));
  EXPECT_DOUBLE_EQ(trace[1].arrival_seconds, 1.0);
  EXPECT_EQ(trace[1].input_tokens, 512);
  EXPECT_EQ(trace[1].output_tokens, 3);
}

TEST(MooncakeTrace, SaysWhichLineIsWrong) {
  const auto message = [](const std::string& line) {
    return ParseMooncakeTrace(line).error().message;
  };
  for (const char* line : {"{", "[]", "7", "{\"timestamp\": "}) {
    EXPECT_EQ(message(line), "line 1 of the trace: it is no JSON object") << line;
  }
  const std::string numbers =
      "line 1 of the trace: timestamp, input_length (at least 1) and output_length must be whole "
      "numbers";
  EXPECT_EQ(message("{}"), numbers);
  EXPECT_EQ(message(R"({"timestamp": 1, "input_length": 0, "output_length": 1, "hash_ids": []})"),
            numbers);
  EXPECT_EQ(
      message(R"({"timestamp": 1, "input_length": "9", "output_length": 1, "hash_ids": [1]})"),
      numbers);
  EXPECT_EQ(message(R"({"timestamp": 1, "input_length": 9, "output_length": 1})"),
            "line 1 of the trace: hash_ids must be an array");
  EXPECT_EQ(
      message(R"({"timestamp": 1, "input_length": 9, "output_length": 1, "hash_ids": ["a"]})"),
      "line 1 of the trace: hash_ids must hold whole numbers");
  EXPECT_EQ(
      message(R"({"timestamp": 1, "input_length": 513, "output_length": 1, "hash_ids": [1]})"),
      "line 1 of the trace: 513 input tokens are 2 blocks of 512, but it has 1 hash_ids");
}

}  // namespace
}  // namespace millrace
