// Answers in every format, cut at every place: the parts are the same.
#include "answer_parts/answer_reader.h"

#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "answer_parts/answer_cases_test_data.h"

namespace millrace {

void PrintTo(const AnswerPart& part, std::ostream* out) {
  *out << "{"
       << "RCFA"[static_cast<int>(part.kind)] << part.call << " '" << part.text << "'}";
}

namespace {

void Join(Parts& parts, Parts more) {
  for (AnswerPart& part : more) {
    const bool goes_on = !parts.empty() && part.kind != PartKind::kCall &&
                         parts.back().kind == part.kind && parts.back().call == part.call;
    if (goes_on) {
      parts.back().text += part.text;
    } else {
      parts.push_back(std::move(part));
    }
  }
}

Parts Read(const AnswerReading& reading, const std::vector<std::string>& pieces) {
  AnswerReader reader(reading);
  Parts parts;
  for (const std::string& piece : pieces) Join(parts, reader.Take(piece));
  Join(parts, reader.Finish());
  return parts;
}

void ExpectTheSameHoweverCut(const AnswerReading& reading, const std::string& text,
                             const Parts& expected) {
  ASSERT_EQ(Read(reading, {text}), expected) << text;
  std::vector<std::string> bytes;
  for (size_t at = 0; at <= text.size(); ++at) {
    ASSERT_EQ(Read(reading, {text.substr(0, at), text.substr(at)}), expected)
        << text << " cut at " << at;
    if (at < text.size()) bytes.emplace_back(1, text[at]);
  }
  ASSERT_EQ(Read(reading, bytes), expected) << text << " byte by byte";
}

TEST(AnswerReader, TheSameHoweverItIsCut) {
  for (const std::vector<Case>& cases : {Cases(), TaggedCases()}) {
    for (const Case& one : cases) {
      ExpectTheSameHoweverCut(ReadingOf(one.format), one.text, one.parts);
    }
  }
}

// An answer that max_tokens ends anywhere within calls: what a caller gets is the same whole and in
// pieces, no call is lost that a longer answer has told, and arguments only grow.
TEST(AnswerReader, AnswersThatEndEarly) {
  for (const std::vector<Case>& cases : {Cases(), TaggedCases()}) {
    for (const Case& one : cases) {
      const AnswerReading reading = ReadingOf(one.format);
      std::vector<std::string> told;  // arguments, as a stream has given them out
      AnswerReader stream(reading);
      for (size_t bytes = 0; bytes <= one.text.size(); ++bytes) {
        const std::string text = one.text.substr(0, bytes);
        const Parts whole = Read(reading, {text});
        ExpectTheSameHoweverCut(reading, text, whole);
        std::vector<std::string> calls;
        for (const AnswerPart& part : whole) {
          if (part.kind == PartKind::kCall) calls.emplace_back();
          if (part.kind == PartKind::kArguments) calls.at(size_t(part.call)) += part.text;
        }
        ASSERT_GE(calls.size(), told.size()) << text;
        for (size_t i = 0; i < told.size(); ++i) ASSERT_TRUE(calls[i].starts_with(told[i])) << text;
        if (bytes == one.text.size()) break;
        for (const AnswerPart& part : stream.Take(one.text.substr(bytes, 1))) {
          if (part.kind == PartKind::kCall) told.emplace_back();
          if (part.kind == PartKind::kArguments) told.at(size_t(part.call)) += part.text;
        }
      }
    }
  }
}

// Texts of pieces that matter, put together at random: cut at random, the parts are the same, and
// without tools or markers the text is.
TEST(AnswerReader, RandomTextsCutAtRandom) {
  const std::vector<std::string> words = {
      "<think>",
      "</think>",
      "<tool_call>",
      "</tool_call>",
      "[TOOL_CALLS]",
      "<|python_tag|>",
      "[",
      "]",
      "{",
      "}",
      "{\"name\": \"f\", \"arguments\": {",
      "\"a\": 1",
      "}}",
      "\"name\": \"f\"",
      "\"arguments\": {}",
      ", ",
      "; ",
      " ",
      "\n",
      "text",
      "<",
      "\"",
      "{\"name\": \"f\", \"parameters\": {\"x\": \"</tool_call>\"}}",
      "\xE2\x82\xAC",
      "\\",
      "f[ARGS]{\"a\": 1}",
      "[CALL_ID]123456789[ARGS]",
      "f",
      "<function=f>",
      "</function>",
      "<parameter=s>",
      "<parameter=n>",
      "</parameter>",
      "<arg_key>s</arg_key>",
      "<arg_key>u</arg_key>",
      "<arg_value>",
      "</arg_value>"};
  std::mt19937 random(5);
  int with_calls = 0;
  for (int i = 0; i < 30'000; ++i) {
    AnswerReading reading = ReadingOf(kAll[random() % std::size(kAll)]);
    reading.in_reasoning = random() % 4 == 0;
    if (random() % 4 == 0) reading.reasoning.reset();
    std::string text;
    for (size_t n = random() % 16; n > 0; --n) text += words[random() % words.size()];
    const Parts expected = Read(reading, {text});
    for (const AnswerPart& part : expected) with_calls += part.kind == PartKind::kCall;
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + random() % 7;
      pieces.push_back(text.substr(at, n));
      at += n;
    }
    ASSERT_EQ(Read(reading, pieces), expected) << text;
    reading.functions.clear();
    reading.reasoning.reset();
    Parts plain;
    if (!text.empty()) plain.push_back(Content(text));
    ASSERT_EQ(Read(reading, pieces), plain);
  }
  EXPECT_GT(with_calls, 500);
}

TEST(AnswerReader, ABlockThatThePromptHasOpened) {
  AnswerReading reading = ReadingOf(ToolFormat::kHermes);
  reading.in_reasoning = true;
  EXPECT_EQ(Read(reading, {"\nWell", " </thi", "nk>\n\nYes", "."}),
            (Parts{Reasoning("Well"), Content("Yes.")}));
  EXPECT_EQ(Read(reading, {"Well "}), (Parts{Reasoning("Well")}));
  reading.reasoning = ReasoningMarkers{"[THINK]", "[/THINK]"};
  EXPECT_EQ(Read(reading, {"[THINK] no [/THINK]yes"}),
            (Parts{Reasoning("[THINK] no"), Content("yes")}));
}

// Nothing is held back that can only be text, and arguments come as they are written.
TEST(AnswerReader, GivesOutWhatIsCertain) {
  AnswerReader reader(ReadingOf(ToolFormat::kHermes));
  EXPECT_EQ(reader.Take("Hello <"), Parts{Content("Hello")});
  EXPECT_EQ(reader.Take("b"), Parts{Content(" <b")});
  EXPECT_EQ(reader.Take("\n<tool_call>{\"name\": \"f\", \"arguments\": "), Parts{});
  EXPECT_EQ(reader.Take("{\"a\""), (Parts{Call("f"), Arguments("{\"a\"")}));
  EXPECT_EQ(reader.Take(": \"b"), Parts{Arguments(": \"b")});
  EXPECT_EQ(reader.Take("\"}}\n</tool"), Parts{Arguments("\"}")});
  EXPECT_EQ(reader.calls(), 1);
  EXPECT_EQ(reader.Take("_call>"), Parts{});
  EXPECT_EQ(reader.Finish(), Parts{});
}

TEST(AnswerReader, KnowsWhenReasoningIsOver) {
  AnswerReader reader(ReadingOf(ToolFormat::kJson));
  EXPECT_FALSE(reader.reasoning_is_over());
  reader.Take("<thi");
  EXPECT_FALSE(reader.has_reasoned());
  reader.Take("nk>a");
  EXPECT_TRUE(reader.has_reasoned());
  EXPECT_FALSE(reader.reasoning_is_over());
  reader.Take("</think>");
  EXPECT_TRUE(reader.reasoning_is_over());
}

TEST(AnswerStyle, IsFoundInTheTemplate) {
  const auto tools = [](std::string_view source) { return StyleOfTemplate(source).tools; };
  EXPECT_EQ(tools("{{ '<tool_call>' }}"), ToolFormat::kHermes);
  EXPECT_EQ(tools("{{ '[TOOL_CALLS]' }}"), ToolFormat::kMistral);
  EXPECT_EQ(tools("{{ '[TOOL_CALLS]' + name + '[ARGS]' }}"), ToolFormat::kMistralArgs);
  EXPECT_EQ(tools("<tool_call>\n<function=f>\n<parameter=p>"), ToolFormat::kQwenCoder);
  EXPECT_EQ(tools("<tool_call>{name}\n<arg_key>"), ToolFormat::kGlm);
  EXPECT_EQ(tools("<|start_header_id|>ipython"), ToolFormat::kLlama3);
  EXPECT_EQ(tools("{{ messages }}"), ToolFormat::kJson);
  EXPECT_FALSE(StyleOfTemplate("{{ messages }}").reasoning);
  EXPECT_EQ(StyleOfTemplate("content.split('</think>')").reasoning, ThinkMarkers());
  EXPECT_EQ(StyleOfTemplate("[/THINK]").reasoning->open, "[THINK]");
  EXPECT_EQ(MarkersOf(StyleOfTemplate("[THINK][TOOL_CALLS]")).size(), 3u);
}

}  // namespace
}  // namespace millrace
