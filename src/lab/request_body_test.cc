// From a line of traffic to what the replay sends of it.
#include "lab/request_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lab/workload_passages.h"

namespace millrace {
namespace {

using nlohmann::json;

WorkloadRequest RequestOfLine(const json& line) {
  const auto workload = ParseWorkload(line.dump());
  EXPECT_TRUE(workload.ok()) << line;
  if (!workload.ok()) return {};
  const auto again = ParseWorkload(ToWorkloadLine(workload->requests[0]));
  EXPECT_TRUE(again.ok()) << ToWorkloadLine(workload->requests[0]);
  return again.ok() ? again->requests[0] : WorkloadRequest();
}

ReplayRequest Sent(const json& line) { return ToReplayRequest(RequestOfLine(line), 0, {}); }

const json kMessages = {{{"role", "user"}, {"content", "What is it?"}}};

TEST(RequestBody, ACallOfALogIsReplayedAsItWasAsked) {
  const json tools = {{{"type", "function"}, {"function", {{"name", "f"}}}}};
  const json body = {{"model", "gpt"},
                     {"messages", kMessages},
                     {"documents", {"a", {{"id", "7"}, {"title", "T"}, {"text", "b"}}}},
                     {"tools", tools},
                     {"tool_choice", "required"},
                     {"stop", {"."}},
                     {"top_p", 0.5},
                     {"temperature", 0.25},
                     {"stream", false},
                     {"n", 3},
                     {"seed", 7},
                     {"logit_bias", {{"5", 1}}},
                     {"millrace", {{"store", "docs"}, {"speculate", "off"}, {"reduce", "off"}}}};
  const ReplayRequest sent = Sent({{"created", 5}, {"body", body}, {"output_length", 9}});
  EXPECT_EQ(sent.path, "/v1/chat/completions");
  const json documents = {{{"title", ""}, {"text", "a"}}, {{"title", "T"}, {"text", "b"}}};
  EXPECT_EQ(json::parse(sent.body), (json{{"messages", kMessages},
                                          {"documents", documents},
                                          {"tools", tools},
                                          {"tool_choice", "required"},
                                          {"stop", {"."}},
                                          {"top_p", 0.5},
                                          {"temperature", 0.25},
                                          {"max_tokens", 9},
                                          {"seed", 1},
                                          {"stream", true},
                                          {"stream_options", {{"include_usage", true}}},
                                          {"millrace", {{"store", "docs"}}}}));
}

TEST(RequestBody, OptionsOfALineNeverReplaceWhatTheReplaySets) {
  const json options = {
      {"max_tokens", 1}, {"stream", false}, {"messages", 5}, {"seed", 9}, {"stop", "x"}};
  const json body = json::parse(Sent({{"messages", kMessages}, {"options", options}}).body);
  EXPECT_EQ(body["messages"], kMessages);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["max_tokens"], 64);
  EXPECT_EQ(body["seed"], 1);
  EXPECT_EQ(body["stop"], "x");
}

TEST(RequestBody, ACompletionHasItsPassagesInFront) {
  const ReplayRequest sent =
      Sent({{"prompt", "p"}, {"documents", {"a", {{"title", "T"}, {"text", "b"}}}}});
  EXPECT_EQ(sent.path, "/v1/completions");
  EXPECT_EQ(json::parse(sent.body)["prompt"], "a\n\nT: b\n\np");
}

TEST(RequestBody, WhatIsNoOptionsIsABadLine) {
  for (const char* line : {R"({"prompt": "p", "options": []})", R"({"prompt": "p", "options": 1})",
                           R"({"prompt": "p", "store": 1})",
                           R"({"body": {"prompt": "p", "millrace": {"store": []}}})"}) {
    EXPECT_FALSE(ParseWorkload(line).ok()) << line;
  }
  EXPECT_EQ(RequestOfLine({{"prompt", "p"}, {"options", json::object()}}).options, "");
  EXPECT_FALSE(RequestOfLine({{"prompt", "p"}}).has_passages());
  EXPECT_TRUE(RequestOfLine({{"prompt", "p"}, {"store", "s"}}).has_passages());
}

}  // namespace
}  // namespace millrace
