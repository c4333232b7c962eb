#include "answer_parts/answer_style.h"

#include <utility>

namespace millrace {
namespace {

// The first whose opening or closing marker the template names is the model's.
constexpr std::pair<std::string_view, std::string_view> kReasoningMarkers[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<seed:think>", "</seed:think>"},
    {"<thinking>", "</thinking>"},
    {"<reasoning>", "</reasoning>"},
    {"<thought>", "</thought>"},
};

}  // namespace

std::string_view NameOf(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
      return "hermes";
    case ToolFormat::kLlama3:
      return "llama3";
    case ToolFormat::kMistral:
      return "mistral";
    case ToolFormat::kMistralArgs:
      return "mistral-args";
    case ToolFormat::kQwenCoder:
      return "qwen-coder";
    case ToolFormat::kGlm:
      return "glm";
    case ToolFormat::kJson:
      break;
  }
  return "json";
}

std::string_view CallMarker(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenCoder:
    case ToolFormat::kGlm:
      return "<tool_call>";
    case ToolFormat::kLlama3:
      return "<|python_tag|>";
    case ToolFormat::kMistral:
    case ToolFormat::kMistralArgs:
      return "[TOOL_CALLS]";
    case ToolFormat::kJson:
      break;
  }
  return {};
}

std::string_view BareCallMarker(ToolFormat format) {
  return format == ToolFormat::kQwenCoder ? "<function=" : std::string_view();
}

bool IsTagged(ToolFormat format) {
  return format == ToolFormat::kMistralArgs || format == ToolFormat::kQwenCoder ||
         format == ToolFormat::kGlm;
}

bool EndsWithTag(ToolFormat format) { return CallMarker(format) == "<tool_call>"; }

ReasoningMarkers ThinkMarkers() { return {"<think>", "</think>"}; }

AnswerStyle StyleOfTemplate(std::string_view source) {
  const auto names = [&](std::string_view text) { return source.find(text) != source.npos; };
  AnswerStyle style;
  if (names("<tool_call>")) {
    style.tools = names("<function=") && names("<parameter=") ? ToolFormat::kQwenCoder
                  : names("<arg_key>")                        ? ToolFormat::kGlm
                                                              : ToolFormat::kHermes;
  } else if (names("[TOOL_CALLS]")) {
    style.tools = names("[ARGS]") ? ToolFormat::kMistralArgs : ToolFormat::kMistral;
  } else if (names("<|python_tag|>") || (names("ipython") && names("<|start_header_id|>"))) {
    style.tools = ToolFormat::kLlama3;
  }
  for (const auto& [open, close] : kReasoningMarkers) {
    if (!names(open) && !names(close)) continue;
    style.reasoning = ReasoningMarkers{std::string(open), std::string(close)};
    break;
  }
  return style;
}

std::vector<std::string> MarkersOf(const AnswerStyle& style) {
  std::vector<std::string> markers;
  if (style.reasoning) markers = {style.reasoning->open, style.reasoning->close};
  if (!CallMarker(style.tools).empty()) markers.emplace_back(CallMarker(style.tools));
  if (EndsWithTag(style.tools)) markers.emplace_back("</tool_call>");
  if (style.tools == ToolFormat::kMistralArgs) {
    for (const char* marker : {"[CALL_ID]", "[ARGS]"}) markers.emplace_back(marker);
  }
  if (style.tools == ToolFormat::kGlm) {
    for (const char* marker : {"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"}) {
      markers.emplace_back(marker);
    }
  }
  return markers;
}

}  // namespace millrace
