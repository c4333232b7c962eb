#include "openai_api/answer_plan.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace millrace {
namespace {

using Kind = OutputConstraint::Kind;

std::string_view WithoutTrailingSpace(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \n\r\t") + 1);
}

// Whether the answer begins within a reasoning block, behind one, or may begin one.
enum class BlockState { kWithin, kBehind, kMayBegin };
BlockState StateOf(const ReasoningMarkers& markers, std::string_view prompt,
                   const std::string& prefill) {
  const std::string_view end = WithoutTrailingSpace(prompt);
  const bool open = end.ends_with(markers.open);
  if (WithoutTrailingSpace(prefill).empty()) {
    if (open) return BlockState::kWithin;
    return end.ends_with(markers.close) ? BlockState::kBehind : BlockState::kMayBegin;
  }
  const size_t begun = prefill.rfind(markers.open), over = prefill.rfind(markers.close);
  const bool is_open = begun != prefill.npos && (over == prefill.npos || over < begun);
  return is_open || (open && over == prefill.npos) ? BlockState::kWithin : BlockState::kBehind;
}

std::shared_ptr<const FunctionTypes> TypesOf(const std::vector<ToolFunction>& functions) {
  auto types = std::make_shared<FunctionTypes>();
  for (const ToolFunction& function : functions) {
    types->emplace(function.name, ArgumentTypes::Of(ArgumentsSchema(function)));
  }
  return types;
}

}  // namespace

TextPattern PatternOf(const OutputConstraint& constraint) {
  switch (constraint.kind) {
    case Kind::kJsonSchema:
      return TextPattern::Of(TextPattern::Kind::kJsonSchema, constraint.text);
    case Kind::kGbnf:
      return TextPattern::Of(TextPattern::Kind::kGbnf, constraint.text);
    case Kind::kRegex:
      return TextPattern::Of(TextPattern::Kind::kRegex, constraint.text);
    case Kind::kPattern:
      return constraint.pattern;
    default:
      return TextPattern::Of(TextPattern::Kind::kJsonSchema, R"({"type": "object"})");
  }
}

AnswerPlan PlanAnswer(const AnswerStyle& style, const ChatRequest& chat, std::string_view prompt) {
  AnswerPlan plan;
  plan.constraint = chat.options.constraint;
  AnswerRules rules{.format = style.tools,
                    .functions = {},
                    .must_call = chat.tools.must_call,
                    .parallel = chat.tools.parallel,
                    .content = {}};
  const OutputConstraint& asked = chat.options.constraint;
  if (asked.kind != Kind::kNone) rules.content = PatternOf(asked);
  for (const RequestedFunction& requested : chat.tools.functions) {
    rules.functions.push_back(requested.function);
    plan.reading.functions.push_back(requested.function.name);
  }
  plan.reading.format = style.tools;
  if (IsTagged(style.tools)) plan.reading.types = TypesOf(rules.functions);
  std::optional<ReasoningMarkers> markers = style.reasoning;
  if (chat.reasoning == ReasoningFormat::kThink) markers = ThinkMarkers();
  if (chat.reasoning == ReasoningFormat::kNone) markers.reset();
  std::optional<BlockState> block;
  if (markers) block = StateOf(*markers, prompt, chat.prefill);
  if (block && *block != BlockState::kBehind) {
    plan.reading.reasoning = markers;
    plan.reading.in_reasoning = block == BlockState::kWithin;
  }
  auto pattern = PatternOfAnswer(rules);
  if (!pattern) return plan;
  // A model that is asked for a grammar may reason first where its template says that it does, but
  // not where only the request does: the grammar may spell the block itself.
  const bool is_within = block == BlockState::kWithin;
  const bool may_begin = block == BlockState::kMayBegin && chat.reasoning == ReasoningFormat::kAuto;
  if (rules.functions.empty() && !is_within && !may_begin) return plan;
  if (is_within || may_begin) {
    pattern =
        BehindReasoning(*markers, is_within ? ReasoningBlock::kOpen : ReasoningBlock::kMayBegin,
                        std::move(*pattern));
  }
  plan.constraint = {.kind = Kind::kPattern, .text = {}, .param = asked.param, .pattern = *pattern};
  if (plan.constraint.param.empty()) plan.constraint.param = "tools";
  if (asked.kind != Kind::kNone) plan.constraint.parts.emplace_back(asked.param, *rules.content);
  for (const RequestedFunction& requested : chat.tools.functions) {
    plan.constraint.parts.emplace_back(requested.param,
                                       ArgumentsPattern(style.tools, requested.function));
  }
  return plan;
}

}  // namespace millrace
