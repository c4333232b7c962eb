// Tasks: questions with known answers, and how an answer is judged.
//
// The form is JSONL, a question a line: "messages" (or "prompt"), optionally "documents" (numbered
// passages that go before the first message, as the demo model was taught), and "expected": a
// string or a list of strings, any of which is right, or {"exact" | "contains" | "number" (with
// "tolerance") | "regex" | "schema": ...}. Also "id" and "group" (questions of one group are one
// cluster).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace {

enum class ExpectationKind { kExact, kContains, kNumber, kRegex, kSchema };

struct Expectation {
  ExpectationKind kind = ExpectationKind::kExact;
  std::vector<std::string> texts;  // exact, contains: any of them; regex, schema: the first
  double number = 0;
  double tolerance = 0;
};

struct TaskItem {
  std::string id;
  int32_t cluster = 0;
  std::string messages;  // the JSON array of chat messages, documents included; empty: `prompt`
  std::string prompt;
  Expectation expected;
};

// Errors name the line. An empty task is an error.
Result<std::vector<TaskItem>> ParseTask(std::string_view jsonl, const std::string& name);

// What stands behind "expected", as JSON.
Result<Expectation> ParseExpected(std::string_view json);
// The JSON array `messages` with the passages before them, as the demo model was taught: numbered,
// behind the system message. Both must have been checked (ParseTask, ParseWorkload).
std::string WithDocuments(std::string_view messages, std::span<const std::string> documents);

struct Judgement {
  bool right = false;
  double f1 = 0;  // token F1 with the nearest expected text; 1 or 0 for kinds without one
};
// `answer` is compared without white space at its ends.
Judgement Judge(const Expectation& expected, std::string_view answer);

// F1 of the words (lower case, without punctuation), as multisets (SQuAD; Rajpurkar et al. 2016).
double TokenF1(std::string_view expected, std::string_view answer);

// The text that a model should say, for documents that are scored; empty for kinds without one.
std::string_view AnswerText(const Expectation& expected);

}  // namespace millrace
