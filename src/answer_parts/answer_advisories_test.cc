// Published advisories about reading tool calls out of answers. docs/SECURITY.md lists them.
#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "answer_parts/answer_reader.h"

namespace millrace {
namespace {

// CVE-2025-48887 (vLLM): the regular expression that looked for calls took exponential time for
// answers such as these, which a model writes when its prompt asks for them; reading what came
// again from the beginning with each token would take quadratic time.
TEST(AnswerAdvisories, Cve202548887HostileAnswersTakeLinearTime) {
  constexpr size_t kBytes = 200'000;
  for (const char* piece : {"[f(a=",
                            "[A(A=\t)A(A=,",
                            "{\"name\": \"f\", \"arguments\": {",
                            "[[[[",
                            "{{",
                            "<tool_call>",
                            "<tool_call>{",
                            "</tool_call>",
                            "<",
                            "[TOOL_CALLS]",
                            "<|python_tag|>",
                            "\\\"",
                            "{\"",
                            "<think>",
                            "</think>",
                            "</thin",
                            "\"\\u005c",
                            "[{\"name\":",
                            "[ARGS]",
                            "[TOOL_CALLS]f[ARGS]{",
                            "<function=",
                            "<function=f><parameter=",
                            "<arg_key>"}) {
    std::string text;
    while (text.size() < kBytes) text += piece;
    for (const auto format :
         {ToolFormat::kHermes, ToolFormat::kLlama3, ToolFormat::kMistral, ToolFormat::kJson,
          ToolFormat::kMistralArgs, ToolFormat::kQwenCoder, ToolFormat::kGlm}) {
      AnswerReading reading = {
          .reasoning = ThinkMarkers(), .format = format, .functions = {"f", "g"}};
      AnswerReader reader(reading);
      const std::clock_t begin = std::clock();
      size_t parts = 0;
      for (size_t at = 0; at < text.size(); at += 5) {
        parts += reader.Take(std::string_view(text).substr(at, 5)).size();
      }
      parts += reader.Finish().size();
      EXPECT_GT(parts, 0u) << piece;
      // Milliseconds; sanitizers and busy machines are slower, and what is exponential never
      // ends.
      EXPECT_LT(std::clock() - begin, 5 * CLOCKS_PER_SEC) << piece << static_cast<int>(format);
    }
  }
}

}  // namespace
}  // namespace millrace
