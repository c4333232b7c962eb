#include "answer_parts/json_cursor.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "answer_parts/call_object.h"

namespace millrace {
namespace {

// How many bytes were taken until the end, or 0 where it is wrong, or -1 where it is not over.
int TakenBytes(std::string_view text) {
  JsonCursor cursor;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto step = cursor.Take(text[i]);
    if (step == JsonCursor::Step::kDone) return static_cast<int>(i) + 1;
    if (step == JsonCursor::Step::kWrong) return 0;
  }
  return -1;
}

TEST(JsonCursor, FindsTheEnd) {
  for (const char* text :
       {"{}", "[]", "[1]", R"({"a": [1, -2.5e+7, 0, 0.1, true, false, null]})",
        R"({"\u00e9\n\"}": {"}": "]"}, "b": [[], {}]})", "[\"\\ud83d\\ude00\"]"}) {
    EXPECT_EQ(TakenBytes(text), static_cast<int>(std::string_view(text).size())) << text;
    EXPECT_TRUE(nlohmann::json::accept(text)) << text;
  }
  EXPECT_EQ(TakenBytes("{} more"), 2);
  EXPECT_EQ(TakenBytes("{\"a\": "), -1);
}

TEST(JsonCursor, RefusesWhatIsNoJson) {
  for (const char* text :
       {"1",           "\"a\"", "{a}",       "{\"a\" 1}",     "{\"a\": }",  "[1,]",
        "[01]",        "[1.]",  "[.5]",      "[-]",           "[1e]",       "[+1]",
        "{\"a\": 1,}", "[tru]", "[\"\\x\"]", "[\"\\u12g4\"]", "[\"a\nb\"]", "[1}",
        "{\"a\": 1]",  "[1 2]", "[nulll]"}) {
    EXPECT_EQ(TakenBytes(text), 0) << text;
    EXPECT_FALSE(text[0] != '1' && text[0] != '"' && nlohmann::json::accept(text)) << text;
  }
  EXPECT_EQ(TakenBytes(std::string(JsonCursor::kMaxDepth, '[')), -1);
  EXPECT_EQ(TakenBytes(std::string(JsonCursor::kMaxDepth + 1, '[')), 0);
}

// Random texts of the characters that matter, against the library's parser.
TEST(JsonCursor, AgreesWithAParser) {
  std::mt19937 random(1);
  const std::string letters = "{}[]\",:01-.e \\utrue";
  int good = 0;
  for (int i = 0; i < 300'000; ++i) {
    std::string text(1, random() % 2 == 0 ? '{' : '[');
    for (size_t n = random() % 9; n > 0; --n) text += letters[random() % letters.size()];
    const int taken = TakenBytes(text);
    const bool whole =
        taken > 0 && text.find_first_not_of(' ', static_cast<size_t>(taken)) == std::string::npos;
    good += whole;
    ASSERT_EQ(whole, nlohmann::json::accept(text)) << text;
    if (taken == 0) {
      // No way to go on makes it JSON: neither of a few.
      for (const char* end : {"}", "]", "\"}", "\"]", "0}", "1]"}) {
        ASSERT_FALSE(nlohmann::json::accept(text + end)) << text << end;
      }
    }
  }
  EXPECT_GT(good, 1000);
}

CallObject Read(std::string_view text, CallObject::Step& step) {
  CallObject object;
  step = CallObject::Step::kGoesOn;
  for (size_t i = 0; i < text.size() && step == CallObject::Step::kGoesOn; ++i) {
    step = object.Take(text[i]);
  }
  return object;
}

TEST(CallObject, ArgumentsAreAsTheyWereWritten) {
  CallObject::Step step;
  CallObject object = Read(R"( {"x"})", step);
  EXPECT_EQ(step, CallObject::Step::kWrong);
  object = Read(R"({"name": "f", "arguments": {"a" :1, "b":{"name":"g"}} })", step);
  EXPECT_EQ(step, CallObject::Step::kDone);
  EXPECT_EQ(object.name(), "f");
  EXPECT_EQ(object.arguments(), R"({"a" :1, "b":{"name":"g"}})");
  object = Read(
      R"({"type": "function", "n": [1, {"name": 2}], "parameters": {}, "name": "f\u0041", "id": 7})",
      step);
  EXPECT_EQ(step, CallObject::Step::kDone);
  EXPECT_EQ(object.name(), "fA");
  EXPECT_EQ(object.arguments(), "{}");
  object = Read(R"({"name": "f", "arguments": "{\"a\": \"\\n\"}"})", step);
  EXPECT_EQ(step, CallObject::Step::kDone);
  EXPECT_EQ(object.arguments(), R"({"a": "\n"})");
  object = Read(R"({"name": "f", "arguments": null})", step);
  EXPECT_EQ(object.arguments(), "{}");
  object = Read(R"({"name": "f", "arguments": {"a": [1, )", step);
  EXPECT_EQ(step, CallObject::Step::kGoesOn);
  EXPECT_EQ(object.arguments(), R"({"a": [1, )");
  EXPECT_FALSE(object.arguments_are_whole());
}

TEST(CallObject, WhatIsNoCallIsWrong) {
  for (const char* text :
       {R"({"arguments": {}})", R"({"name": 5})", R"({"name": 5, "a": 1})",
        R"({"name": "f", "arguments": [1]})", R"({"name": "f", "arguments": 7})",
        R"({"name": "f", "arguments": 7, "b": 1})", R"({"name": "f", "arguments": "x"})",
        R"({"name": "f", "arguments": "{} 1"})", R"({"name": "f", "arguments": true})",
        R"({"name": "f", "arguments": {"a": }})", "[1]", R"({"name": ["f"]})"}) {
    CallObject::Step step;
    const CallObject object = Read(text, step);
    EXPECT_EQ(step, CallObject::Step::kWrong) << text;
    EXPECT_FALSE(object.name() && object.arguments_are_whole()) << text;
  }
}

}  // namespace
}  // namespace millrace
