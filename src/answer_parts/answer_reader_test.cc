// Answers in every format, cut at every place: the parts are the same.
#include "answer_parts/answer_reader.h"

#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

void PrintTo(const AnswerPart& part, std::ostream* out) {
  *out << "{"
       << "RCFA"[static_cast<int>(part.kind)] << part.call << " '" << part.text << "'}";
}

namespace {

using PartKind = AnswerPart::Kind;
using Parts = std::vector<AnswerPart>;

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

AnswerPart Content(std::string text) { return {PartKind::kContent, std::move(text), 0}; }
AnswerPart Reasoning(std::string text) { return {PartKind::kReasoning, std::move(text), 0}; }
AnswerPart Call(std::string name, int call = 0) { return {PartKind::kCall, std::move(name), call}; }
AnswerPart Arguments(std::string text, int call = 0) {
  return {PartKind::kArguments, std::move(text), call};
}

struct Case {
  ToolFormat format;
  std::string text;
  Parts parts;
};

AnswerReading ReadingOf(ToolFormat format) {
  const auto types = std::make_shared<FunctionTypes>();
  (*types)["f"] = ArgumentTypes::Of(R"({"properties": {"s": {"type": "string"},
      "e": {"enum": ["a", "b"]}, "n": {"type": "integer"}, "b": {"type": "boolean"},
      "o": {"type": ["object", "null"]}, "u": {"anyOf": [{"type": "string"}, {"type": "null"}]}}})");
  return {.reasoning = ThinkMarkers(),
          .format = format,
          .functions = {"f", "get_weather"},
          .types = types};
}

const ToolFormat kAll[] = {ToolFormat::kHermes,      ToolFormat::kLlama3,    ToolFormat::kMistral,
                           ToolFormat::kMistralArgs, ToolFormat::kQwenCoder, ToolFormat::kGlm,
                           ToolFormat::kJson};

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {ToolFormat::kHermes,
       "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
       "\"Paris\"}}\n</tool_call>",
       {Call("get_weather"), Arguments("{\"city\": \"Paris\"}")}},
      {ToolFormat::kHermes,
       "Let me see.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
       "{}}\n</tool_call>\n<tool_call>\n"
       "{\"arguments\": {\"a\": [1, 2]}, \"name\": \"f\"}\n</tool_call>\n",
       {Content("Let me see."), Call("f"), Arguments("{}"), Call("f", 1),
        Arguments("{\"a\": [1, 2]}", 1)}},
      // Behind a call, and a text that holds the end of a call.
      {ToolFormat::kHermes,
       "<tool_call>{\"name\":\"f\",\"arguments\":{\"t\":\"</tool_call>\"}}</tool_call> done <b>",
       {Call("f"), Arguments("{\"t\":\"</tool_call>\"}"), Content("done <b>")}},
      {ToolFormat::kHermes,
       "<think>\nIs <tool_call> needed?\n</think>\n\n<tool_call>{\"name\": \"f\"}</tool_call>",
       {Reasoning("Is <tool_call> needed?"), Call("f"), Arguments("{}")}},
      // No calls: as they were written.
      {ToolFormat::kHermes, "a <tool_call> b <tool_call", {Content("a <tool_call> b <tool_call")}},
      {ToolFormat::kHermes,
       "x\n<tool_call>\n{\"name\": \"rm\", \"arguments\": {}}\n</tool_call>",
       {Content("x\n<tool_call>\n{\"name\": \"rm\", \"arguments\": {}}\n</tool_call>")}},
      {ToolFormat::kHermes,
       "<tool_call>{\"name\": 1}</tool_call> <tool_call>{\"name\": \"f\", \"arguments\": "
       "{}}</tool_call>",
       {Content("<tool_call>{\"name\": 1}</tool_call>"), Call("f"), Arguments("{}")}},
      {ToolFormat::kHermes,
       "<tool_call>{\"x\": <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
       {Content("<tool_call>{\"x\":"), Call("f"), Arguments("{\"a\": 1}")}},
      // What is wrong in arguments.
      {ToolFormat::kHermes,
       "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": oops}}</tool_call>!",
       {Call("f"), Arguments("{\"a\": oops}}"), Content("!")}},
      {ToolFormat::kHermes,
       "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [",
       {Call("f"), Arguments("{\"a\": [")}},
      // The call's own brace is missing, or there is one too many.
      {ToolFormat::kHermes,
       "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}</tool_call>",
       {Call("f"), Arguments("{\"a\": 1}")}},
      {ToolFormat::kHermes,
       "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}}\n</tool_call>ok",
       {Call("f"), Arguments("{\"a\": 1}"), Content("ok")}},
      {ToolFormat::kLlama3,
       "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}",
       {Call("get_weather"), Arguments("{\"city\": \"Paris\"}")}},
      {ToolFormat::kLlama3,
       "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": "
       "\"f\", \"parameters\": {\"x\": null}}",
       {Call("f"), Arguments("{}"), Call("f", 1), Arguments("{\"x\": null}", 1)}},
      {ToolFormat::kLlama3, "<|python_tag|>print(1)", {Content("<|python_tag|>print(1)")}},
      {ToolFormat::kLlama3,
       "See {\"name\": \"f\", \"parameters\": {}}",
       {Content("See {\"name\": \"f\", \"parameters\": {}}")}},
      {ToolFormat::kLlama3,
       "{\"name\": \"Ada\", \"parameters\": {\"a\": 1}}",
       {Content("{\"name\": \"Ada\", \"parameters\": {\"a\": 1}}")}},
      {ToolFormat::kLlama3,
       "{\"name\": \"f\", \"age\": 3} and so on",
       {Content("{\"name\": \"f\", \"age\": 3} and so on")}},
      {ToolFormat::kLlama3,
       "{\"name\": \"f\", \"parameters\": {}}; and more",
       {Call("f"), Arguments("{}"), Content("; and more")}},
      {ToolFormat::kMistral,
       "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": \"[\"}}, {\"name\": "
       "\"get_weather\", \"arguments\": {}, \"id\": \"123456789\"}]",
       {Call("f"), Arguments("{\"a\": \"[\"}"), Call("get_weather", 1), Arguments("{}", 1)}},
      {ToolFormat::kMistral,
       "Hm. [TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}] [1]",
       {Content("Hm."), Call("f"), Arguments("{}"), Content("[1]")}},
      {ToolFormat::kMistral,
       "[TOOL_CALLS] none [TOOL_CAL",
       {Content("[TOOL_CALLS] none [TOOL_CAL")}},
      {ToolFormat::kMistral,
       "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}, {\"name\": \"rm\"}] end",
       {Call("f"), Arguments("{}"), Content(", {\"name\": \"rm\"}] end")}},
      {ToolFormat::kJson,
       "\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n",
       {Call("f"), Arguments("{\"a\": 1}")}},
      {ToolFormat::kJson,
       "[{\"name\": \"f\", \"arguments\": {}},{\"name\": \"f\", \"arguments\": {}}]",
       {Call("f"), Arguments("{}"), Call("f", 1), Arguments("{}", 1)}},
      {ToolFormat::kJson,
       "{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"f\", \"arguments\": {}}",
       {Call("f"), Arguments("{}"), Call("f", 1), Arguments("{}", 1)}},
      {ToolFormat::kJson, "[1, 2]", {Content("[1, 2]")}},
      {ToolFormat::kJson, "{\"answer\": 42}", {Content("{\"answer\": 42}")}},
  };
  for (const ToolFormat format : kAll) {
    cases.push_back({format, "", {}});
    cases.push_back({format,
                     " plain text, <think> too </think>\n",
                     {Content(" plain text, <think> too </think>\n")}});
    cases.push_back({format,
                     "\n<think>\nI think.\n</think>\n\nSo: 4.\n",
                     {Reasoning("I think."), Content("So: 4.\n")}});
    cases.push_back({format, "<think></think>hi", {Content("hi")}});
    cases.push_back({format, "<think> never done </thin", {Reasoning("never done </thin")}});
    cases.push_back({format, "<thin", {Content("<thin")}});
  }
  return cases;
}

// What stands between tags, whose values become JSON by their types.
std::vector<Case> TaggedCases() {
  const auto mistral = ToolFormat::kMistralArgs, qwen = ToolFormat::kQwenCoder,
             glm = ToolFormat::kGlm;
  return {
      {mistral, "[TOOL_CALLS]f[ARGS]{\"a\": [1]}", {Call("f"), Arguments("{\"a\": [1]}")}},
      {mistral,
       "So.[TOOL_CALLS]f[CALL_ID]a1B2c3D4e[ARGS]{}[TOOL_CALLS]get_weather[ARGS]{\"c\": \"}\"}",
       {Content("So."), Call("f"), Arguments("{}"), Call("get_weather", 1),
        Arguments("{\"c\": \"}\"}", 1)}},
      {mistral, "[TOOL_CALLS]f{\"a\": 1} ok", {Call("f"), Arguments("{\"a\": 1}"), Content("ok")}},
      {mistral,
       "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}]",  // as older ones
       {Call("f"), Arguments("{\"a\": 1}")}},
      {mistral, "[TOOL_CALLS]rm[ARGS]{}", {Content("[TOOL_CALLS]rm[ARGS]{}")}},
      {mistral, "[TOOL_CALLS]f[ARGS][1]", {Content("[TOOL_CALLS]f[ARGS][1]")}},
      {mistral, "[TOOL_CALLS]f g[ARGS]{}", {Content("[TOOL_CALLS]f g[ARGS]{}")}},
      {mistral, "[TOOL_CALLS]f[AGS]{}", {Content("[TOOL_CALLS]f[AGS]{}")}},
      {mistral,
       "[TOOL_CALLS]f[ARGS]{\"a\": oops}[TOOL_CALLS]f[ARGS]{}",
       {Call("f"), Arguments("{\"a\": oops}"), Call("f", 1), Arguments("{}", 1)}},
      {mistral, "[TOOL_CALLS]f[ARGS]{\"a\": [", {Call("f"), Arguments("{\"a\": [")}},
      {qwen,
       "Sure.\n<tool_call>\n<function=f>\n<parameter=s>\nOslo "
       "\"x\"\n</parameter>\n<parameter=n>\n42\n"
       "</parameter>\n</function>\n</tool_call>\n",
       {Content("Sure."), Call("f"), Arguments(R"({"s": "Oslo \"x\"", "n": 42})")}},
      {qwen,
       "<tool_call><function=f></function></tool_call>\n<tool_call>\n<function=get_weather>\n"
       "<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call> end",
       {Call("f"), Arguments("{}"), Call("get_weather", 1), Arguments(R"({"city": "Rome"})", 1),
        Content("end")}},
      // Line ends of a text are its own but for one at each side; a text may look like anything.
      {qwen,
       "<tool_call>\n<function=f>\n<parameter=s>\n\n a <b> </para \\ "
       "\t\n\n</parameter>\n</function>\n"
       "</tool_call>",
       {Call("f"), Arguments(R"({"s": "\n a <b> </para \\ \t\n"})")}},
      {qwen,
       "<tool_call>\n<function=f>\n<parameter=s>\n123\n</parameter>\n<parameter=e>\nb\n</"
       "parameter>\n"
       "<parameter=u>\nnull\n</parameter>\n</function>\n</tool_call>",
       {Call("f"), Arguments(R"({"s": "123", "e": "b", "u": null})")}},
      // Python's words, JSON, what has the wrong type, and what no schema names.
      {qwen,
       "<tool_call>\n<function=f>\n<parameter=b>\nTrue\n</parameter>\n<parameter=o>\n{\"k\": [1, "
       "null]}\n</parameter>\n<parameter=n>\nmany\n</parameter>\n<parameter=u>\n7\n</parameter>\n"
       "<parameter=x>\n7\n</parameter>\n<parameter=y>\nso\n</parameter>\n</function>\n</tool_call>",
       {Call("f"),
        Arguments(
            R"({"b": true, "o": {"k": [1, null]}, "n": "many", "u": "7", "x": 7, "y": "so"})")}},
      {qwen,
       "<tool_call>\n<function=f>\n stray <b> <parameter=n>\n1\n</parameter>\n</tool_call>ok",
       {Call("f"), Arguments("{\"n\": 1}"), Content("ok")}},
      {qwen,
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n</tool_call>",  // as others
       {Call("f"), Arguments("{\"n\": 1}")}},
      {qwen,
       "<tool_call>\n<function=rm>\n</function>\n</tool_call>",
       {Content("<tool_call>\n<function=rm>\n</function>\n</tool_call>")}},
      {qwen, "<tool_call>\n<fun>f", {Content("<tool_call>\n<fun>f")}},
      // Without the outer tag, which these models forget.
      {qwen,
       "So:\n<function=f>\n<parameter=n>\n1\n</parameter>\n</function>\n</tool_call>ok <func",
       {Content("So:"), Call("f"), Arguments("{\"n\": 1}"), Content("ok <func")}},
      {qwen, "a <function=rm>\n</function>", {Content("a <function=rm>\n</function>")}},
      // Cut: a string in its middle; a number not at all.
      {qwen,
       "<tool_call>\n<function=f>\n<parameter=s>\nOsl",
       {Call("f"), Arguments("{\"s\": \"Osl")}},
      {qwen,
       "<tool_call>\n<function=f>\n<parameter=s>\nOslo\n</parameter>\n<parameter=n>\n4",
       {Call("f"), Arguments("{\"s\": \"Oslo\"")}},
      {glm,
       "\n<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>a\nb</arg_value>\n<arg_key>n</arg_key>\n"
       "<arg_value>-1.5</arg_value>\n</tool_call>",
       {Call("f"), Arguments(R"({"s": "a\nb", "n": -1.5})")}},
      {glm,
       "<think>hm</think>\n<tool_call>f</tool_call>\n<tool_call>get_weather\n<arg_key>c</arg_key>"
       "<arg_value>[1]</arg_value></tool_call>",
       {Reasoning("hm"), Call("f"), Arguments("{}"), Call("get_weather", 1),
        Arguments(R"({"c": [1]})", 1)}},
      {glm,
       "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value></tool_call></arg_value>\n</tool_call></to",
       {Call("f"), Arguments(R"({"s": "</tool_call>"})"), Content("</to")}},
      {glm, "<tool_call>rm\n</tool_call>", {Content("<tool_call>rm\n</tool_call>")}},
      {glm, "<tool_call>a (b)", {Content("<tool_call>a (b)")}},
      {glm,
       "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>Os</arg_",
       {Call("f"), Arguments("{\"s\": \"Os")}},
  };
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
