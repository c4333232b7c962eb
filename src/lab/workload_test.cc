#include "lab/workload.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lab/workload_generators.h"
#include "lab/workload_summary.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ErrorOfWorkload(std::string_view text, const WorkloadOptions& options = {}) {
  const auto parsed = ParseWorkload(text, options);
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(Workload, OwnFormIsReadSortedAndWrittenBack) {
  const auto w = ParseWorkload(
      R"({"timestamp": 2500, "prompt": "later", "output_length": 7}
{"timestamp": 500, "messages": [{"role": "user", "content": "hi"}], "session_id": "s", "delay": 40,
)"
      R"("documents": ["a", {"text": "b"}], "expected": {"contains": "x"}, "answer": "y"})");
  EXPECT_FALSE(w.ok());  // the second request is broken over two lines
  const std::string text =
      R"({"timestamp": 2500, "prompt": "later", "output_length": 7})"
      "\n\n"
      R"({"timestamp": 500, "messages": [{"role": "user", "content": "hi"}], "session_id": "s", "delay": 40, "group": "g", "documents": ["a", {"text": "b"}], "temperature": 0.5, "expected": {"contains": "x"}, "answer": "y"})"
      "\r\n";
  const auto workload = ParseWorkload(text);
  ASSERT_TRUE(workload.ok()) << workload.error().message;
  ASSERT_EQ(workload->requests.size(), 2);
  EXPECT_TRUE(workload->timed);
  const WorkloadRequest &first = workload->requests[0], &second = workload->requests[1];
  EXPECT_EQ(first.arrival_seconds, 0);
  EXPECT_EQ(first.session, "s");
  EXPECT_EQ(first.delay_seconds, 0.04);
  EXPECT_EQ(first.group, "g");
  EXPECT_THAT(first.documents, ElementsAre("a", "b"));
  EXPECT_EQ(first.answer, "y");
  EXPECT_EQ(first.temperature, 0.5);
  EXPECT_EQ(second.arrival_seconds, 2);
  EXPECT_EQ(second.prompt, "later");
  EXPECT_EQ(second.output_tokens, 7);
  const auto again = ParseWorkload(ToWorkloadLine(first) + "\n" + ToWorkloadLine(second));
  ASSERT_TRUE(again.ok()) << again.error().message;
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(ToWorkloadLine(again->requests[i]), ToWorkloadLine(workload->requests[i]));
}

TEST(Workload, ABadLineIsNamedAndSkippedOnlyIfAsked) {
  const std::string good = R"({"prompt": "p"})";
  for (const auto& [line, reason] : std::vector<std::pair<std::string, std::string>>{
           {"nonsense", "no JSON object"},
           {R"({"timestamp": 1})", "needs \"messages\""},
           {R"({"messages": []})", "\"messages\" must be a list"},
           {R"({"messages": [{"role": 1, "content": "x"}]})", "needs a \"role\""},
           {R"({"prompt": 5})", "\"prompt\" must be a text"},
           {R"({"prompt": "p", "timestamp": -1})", "\"timestamp\" must be"},
           {R"({"input_length": 0})", "\"input_length\" must be"},
           {R"({"input_length": 1e30})", "\"input_length\" must be"},
           {R"({"input_length": 600, "hash_ids": [1]})", "are 2 blocks of 512"},
           {R"({"prompt": "p", "temperature": "hot"})", "\"temperature\" must be"},
           {R"({"prompt": "p", "documents": "d"})", "\"documents\" must be"},
           {R"({"prompt": "p", "expected": 3})", "\"expected\" must"}}) {
    const std::string text = good + "\n\n" + line + "\n" + good + "\n";
    EXPECT_THAT(ErrorOfWorkload(text), HasSubstr("line 3 of the workload: ")) << line;
    EXPECT_THAT(ErrorOfWorkload(text), HasSubstr(reason)) << line;
    const auto skipped = ParseWorkload(text, {.format = "", .skip_bad_lines = true});
    ASSERT_TRUE(skipped.ok()) << line;
    EXPECT_EQ(skipped->requests.size(), 2) << line;
    EXPECT_EQ(skipped->skipped.size(), 1) << line;
  }
  EXPECT_THAT(ErrorOfWorkload(""), HasSubstr("holds no requests"));
  EXPECT_THAT(ErrorOfWorkload("nonsense", {.format = "", .skip_bad_lines = true}),
              HasSubstr("holds no requests"));
  EXPECT_THAT(ErrorOfWorkload("x", {.format = "yaml"}), HasSubstr("choose millrace, openai"));
}

TEST(Workload, LogsOfOpenAiRequests) {
  const auto w = ParseWorkload(
      R"({"custom_id": "1", "created": 100, "body": {"model": "m", "messages": [{"role": "user", "content": "q"}], "prompt_cache_key": "k"}, "response": {"body": {"usage": {"completion_tokens": 12}, "choices": [{"message": {"content": "yes"}}]}}})"
      "\n"
      R"({"created": 101.5, "request": {"prompt": "plain"}})");
  ASSERT_TRUE(w.ok()) << w.error().message;
  EXPECT_EQ(w->format, "openai");
  EXPECT_EQ(w->requests[0].session, "k");
  EXPECT_EQ(w->requests[0].output_tokens, 12);
  EXPECT_EQ(w->requests[0].answer, "yes");
  EXPECT_EQ(w->requests[1].prompt, "plain");
  EXPECT_EQ(w->requests[1].arrival_seconds, 1.5);
}

TEST(Workload, ShareGptTurnsCarryTheConversation) {
  const std::string text =
      R"([{"id": "c1", "conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"},
          {"from": "human", "value": "three"}]}, {"id": "c2", "conversations": [{"from": "robot", "value": ""}]}])";
  EXPECT_THAT(ErrorOfWorkload(text), HasSubstr("entry 2 of the workload: \"from\" must be"));
  const auto w = ParseWorkload(text, {.format = "", .skip_bad_lines = true});
  ASSERT_TRUE(w.ok());
  EXPECT_EQ(w->format, "sharegpt");
  ASSERT_EQ(w->requests.size(), 2);
  EXPECT_EQ(w->requests[0].answer, "two");
  EXPECT_THAT(w->requests[1].messages, HasSubstr("two"));
  EXPECT_EQ(w->requests[1].session, "c1");
}

TEST(Workload, SquadQuestionsCarryTheirPassageAndNeighbours) {
  std::string text = R"({"version": "1", "data": [{"title": "T", "paragraphs": [)";
  for (int i = 0; i < 7; ++i) {
    text +=
        (i > 0 ? "," : "") +
        fmt::format(R"({{"context": "passage {0}", "qas": [{{"id": "q{0}", "question": "which {0}?",
                        "answers": [{{"text": "passage {0}", "answer_start": 0}}]}}]}})",
                    i);
  }
  const auto w = ParseWorkload(text + "]}]}");
  ASSERT_TRUE(w.ok()) << w.error().message;
  EXPECT_EQ(w->format, "squad");
  ASSERT_EQ(w->requests.size(), 7);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(w->requests[i].documents.size(), 5);
    EXPECT_THAT(w->requests[i].documents, testing::Contains(fmt::format("passage {}", i)));
    EXPECT_EQ(w->requests[i].expected, fmt::format(R"({{"contains":["passage {}"]}})", i));
  }
}

TEST(Workload, TracesOfLengths) {
  const auto mooncake = ParseWorkload(
      R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]})");
  ASSERT_TRUE(mooncake.ok());
  EXPECT_EQ(mooncake->format, "mooncake");
  EXPECT_THAT(mooncake->requests[0].prefix_blocks, ElementsAre(0, 1));
  const auto burst = ParseWorkload(
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
      "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n");
  ASSERT_TRUE(burst.ok()) << burst.error().message;
  EXPECT_EQ(burst->format, "burstgpt");
  EXPECT_EQ(burst->requests[1].arrival_seconds, 40);
  EXPECT_EQ(burst->requests[1].input_tokens, 1087);
  const std::string azure =
      "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.5,4808,10\nbad\n"
      "2023-11-16 18:17:05.5,30,8\n2023-11-16 18:17:06.0,31,8\n";
  EXPECT_THAT(ErrorOfWorkload(azure), HasSubstr("line 3"));
  const auto skipped = ParseWorkload(azure, {.format = "", .skip_bad_lines = true});
  ASSERT_TRUE(skipped.ok());
  EXPECT_EQ(skipped->format, "azure");
  ASSERT_EQ(skipped->requests.size(), 3);
  EXPECT_NEAR(skipped->requests[2].arrival_seconds, 2.5, 1e-6);
}

// A token a letter.
WorkloadTokenizer Letters() {
  const auto letters = [](std::string_view text) {
    return std::vector<int32_t>(text.begin(), text.end());
  };
  return {[letters](const WorkloadRequest& r) { return letters(r.prompt); }, letters};
}

TEST(Summary, SharedPrefixesInWholeBlocks) {
  // 100 tokens; then the same again: 96 are whole blocks; then one that shares 40: one block of 32.
  const std::string a(100, 'a'), b = std::string(40, 'a') + std::string(60, 'b');
  const auto w =
      ParseWorkload(fmt::format("{{\"prompt\": \"{}\"}}\n{{\"prompt\": \"{}\"}}\n"
                                "{{\"prompt\": \"{}\"}}",
                                a, a, b));
  const WorkloadSummary s = Summarize(*w, Letters());
  EXPECT_NEAR(s.shared_prefix, (96 + 32) / 300.0, 1e-12);
  EXPECT_EQ(s.input.longest, 100);
  EXPECT_EQ(s.sessions, 3);
  EXPECT_EQ(s.seconds, 0);  // nobody said when
}

TEST(Summary, HashesAndWhatTheyCannotTell) {
  const auto w = ParseWorkload(
      "{\"timestamp\": 0, \"input_length\": 1000, \"output_length\": 5, \"hash_ids\": [0, 1]}\n"
      "{\"timestamp\": 1000, \"input_length\": 1000, \"output_length\": 9, \"hash_ids\": [0, "
      "2]}\n");
  const WorkloadSummary s = Summarize(*w, Letters());
  EXPECT_NEAR(s.shared_prefix, 512 / 2000.0, 1e-12);
  EXPECT_EQ(s.requests_per_second, 1);
  EXPECT_EQ(s.output.mean, 7);
  EXPECT_THAT(s.cannot_measure, testing::Contains(HasSubstr("speculation")));
  EXPECT_THAT(s.cannot_measure, testing::Contains(HasSubstr("quality")));
}

TEST(Summary, LookupHitsByHand) {
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 1, 2};
  // 3 follows (1,2), seen; 4 follows (2,3), seen; 9 does not follow (3,4); (4,9) was never seen.
  EXPECT_EQ(LookupHits(prompt, {3, 4, 9, 9}), 2);
  EXPECT_EQ(LookupHits({}, {}), 0);
}

TEST(Generators, TheClassicCases) {
  for (const std::string& kind : GeneratorKinds()) {
    const auto w = GenerateWorkload(kind, {.requests = 23});
    ASSERT_TRUE(w.ok());
    ASSERT_EQ(w->requests.size(), 23) << kind;
    std::string text;
    for (const WorkloadRequest& r : w->requests) text += ToWorkloadLine(r) + "\n";
    EXPECT_TRUE(ParseWorkload(text).ok()) << kind;
  }
  EXPECT_THAT(GenerateWorkload("nonsense", {}).error().message, HasSubstr("choose chat"));
  EXPECT_FALSE(GenerateWorkload("chat", {.requests = 0}).ok());
}

TEST(Generators, ArrivalsHaveTheRateAndTheVariation) {
  auto w = GenerateWorkload("same", {.requests = 4000});
  SetArrivals(*w, ArrivalPattern::kPoisson, 10, 7);
  const WorkloadTokenizer none = {[](const WorkloadRequest&) { return std::vector<int32_t>{1}; },
                                  [](std::string_view) { return std::vector<int32_t>(); }};
  WorkloadSummary s = Summarize(*w, none);
  EXPECT_NEAR(s.requests_per_second, 10, 0.5);
  EXPECT_NEAR(s.arrival_variation, 1, 0.06);
  SetArrivals(*w, ArrivalPattern::kBursty, 10, 7);
  s = Summarize(*w, none);
  EXPECT_NEAR(s.requests_per_second, 10, 1);
  EXPECT_NEAR(s.arrival_variation, 2, 0.2);
}

TEST(Demo, QuestionsShareTheirPassages) {
  const std::string line =
      R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "?"}], "documents": ["Lum is a farm. The owner of Lum is Ann Bo. The main crop of Lum is rice.", "The current version of Kix is 4.12. It is red.", "c", "d"], "expected": "x"})";
  const auto w = DemoWorkload(line + "\n" + line, 6, 1);
  ASSERT_TRUE(w.ok()) << w.error().message;
  std::vector<std::string> expected;
  for (const WorkloadRequest& r : w->requests) {
    expected.push_back(r.expected);
    EXPECT_EQ(r.documents.size(), 4);
  }
  EXPECT_EQ(
      std::count(expected.begin(), expected.end(), R"({"contains":"The owner of Lum is Ann Bo."})"),
      2);
  EXPECT_EQ(std::count(expected.begin(), expected.end(),
                       R"({"contains":"The current version of Kix is 4.12."})"),
            2);
  EXPECT_THAT(DemoWorkload(line, 100, 1).error().message, HasSubstr("holds 3 questions"));
}

}  // namespace
}  // namespace millrace
