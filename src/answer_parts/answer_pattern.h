// What an answer must look like where tools must be called, or be called as their schemas say, or
// where a format is asked of a model that reasons first: as a TextPattern.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "answer_parts/answer_style.h"
#include "constrained_output/text_pattern.h"

namespace millrace {

struct ToolFunction {
  std::string name;
  std::string parameters;  // a JSON schema of an object, as text; empty: it has none
  bool strict = false;     // its arguments must be as the schema says
  friend bool operator==(const ToolFunction&, const ToolFunction&) = default;
};

// Of calls that a pattern allows in one answer.
inline constexpr int kMaxParallelCalls = 32;

struct AnswerRules {
  ToolFormat format = ToolFormat::kJson;
  std::vector<ToolFunction> functions;  // that may be called
  bool must_call = false;               // the answer is calls, all of them as their schemas say
  bool parallel = true;                 // more than one
  std::optional<TextPattern> content;   // what the answer must look like if it is no call
};

// None where the model may write anything. Where a function is strict, text is free until a call
// begins, and from there the call is as the schemas say.
std::optional<TextPattern> PatternOfAnswer(const AnswerRules& rules);

// `answer` behind a reasoning block. kOpen: which the prompt has opened; kMayBegin: which may stand
// there or not.
enum class ReasoningBlock { kOpen, kMayBegin };
TextPattern BehindReasoning(const ReasoningMarkers& markers, ReasoningBlock block,
                            TextPattern answer);

// The schema of a function's arguments as they are constrained: of an object, without parameters
// where none are named.
std::string ArgumentsSchema(const ToolFunction& function);
// The arguments by themselves, as the format writes them: to say whose schema does not compile.
TextPattern ArgumentsPattern(ToolFormat format, const ToolFunction& function);

}  // namespace millrace
