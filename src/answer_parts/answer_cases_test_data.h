// Answers in every format, and the parts that they have.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "answer_parts/answer_reader.h"

namespace millrace {

using namespace std::string_literals;

using PartKind = AnswerPart::Kind;
using Parts = std::vector<AnswerPart>;

inline AnswerPart Content(std::string text) { return {PartKind::kContent, std::move(text), 0}; }
inline AnswerPart Reasoning(std::string text) { return {PartKind::kReasoning, std::move(text), 0}; }
inline AnswerPart Call(std::string name, int call = 0) {
  return {PartKind::kCall, std::move(name), call};
}
inline AnswerPart Arguments(std::string text, int call = 0) {
  return {PartKind::kArguments, std::move(text), call};
}

struct Case {
  ToolFormat format;
  std::string text;
  Parts parts;
};

inline AnswerReading ReadingOf(ToolFormat format) {
  const auto types = std::make_shared<FunctionTypes>();
  (*types)["f"] = ArgumentTypes::Of(R"({"properties": {"s": {"type": "string"},
      "e": {"enum": ["a", "b"]}, "n": {"type": "integer"}, "b": {"type": "boolean"},
      "o": {"type": ["object", "null"]}, "u": {"anyOf": [{"type": "string"}, {"type": "null"}]}}})");
  return {.reasoning = ThinkMarkers(),
          .format = format,
          .functions = {"f", "get_weather"},
          .types = types};
}

inline constexpr ToolFormat kAll[] = {
    ToolFormat::kHermes,    ToolFormat::kLlama3, ToolFormat::kMistral, ToolFormat::kMistralArgs,
    ToolFormat::kQwenCoder, ToolFormat::kGlm,    ToolFormat::kJson};

inline std::vector<Case> Cases() {
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
inline std::vector<Case> TaggedCases() {
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
      // A NUL ends no value.
      {qwen,
       "<tool_call>\n<function=f>\n<parameter=n>\n8"s + '\0' + "]</parameter>\n</function>\n",
       {Call("f"), Arguments(R"({"n": "8\u0000]"})")}},
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

}  // namespace millrace
