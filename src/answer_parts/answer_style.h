// AnswerStyle: how a model writes what is not plain text: its reasoning and its tool calls. Found
// in its chat template, which shows the model both.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

enum class ToolFormat {
  kHermes,       // <tool_call>{"name", "arguments"}</tool_call>, any number: Hermes, Qwen
  kLlama3,       // the answer is {"name", "parameters"}, more behind "; "; <|python_tag|> may stand
                 // before
  kMistral,      // [TOOL_CALLS] [{"name", "arguments"}, ...]
  kMistralArgs,  // [TOOL_CALLS]name[ARGS]{...}, any number; [CALL_ID]... may stand before [ARGS]:
                 // tokenizers from v11 on
  kQwenCoder,    // <tool_call><function=name><parameter=key>...</parameter></function></tool_call>
  kGlm,   // <tool_call>name<arg_key>key</arg_key><arg_value>...</arg_value></tool_call>: 4.5, 4.6
  kJson,  // the answer is {"name", "arguments"} or an array of them: for models not made for tools
};
std::string_view NameOf(ToolFormat format);  // "hermes", "llama3", "mistral", ... "json"
// Whether calls are written between tags, not as objects with a name (tagged_call.h).
bool IsTagged(ToolFormat format);
// Whether a call ends with </tool_call>.
bool EndsWithTag(ToolFormat format);

struct ReasoningMarkers {
  std::string open, close;
  friend bool operator==(const ReasoningMarkers&, const ReasoningMarkers&) = default;
};

// What a template takes as the id of a tool call. Mistral's raise where one has not nine letters
// and digits.
enum class CallIds { kAny, kNineCharacters };

struct AnswerStyle {
  ToolFormat tools = ToolFormat::kJson;
  bool shows_tools = false;  // the template has a place for tools, and for calls and their results
  bool takes_system = true;  // and for a system message
  CallIds call_ids = CallIds::kAny;
  std::optional<ReasoningMarkers> reasoning;  // none: the model is not known to reason
};

// What the template's source says. shows_tools and takes_system are not found so: render something.
AnswerStyle StyleOfTemplate(std::string_view source);

// <think> and </think>.
ReasoningMarkers ThinkMarkers();

// Texts that mean something in answers of this style: what must be shown of them though they are
// control tokens.
std::vector<std::string> MarkersOf(const AnswerStyle& style);

// What begins a tool call where no JSON does; empty: nothing.
std::string_view CallMarker(ToolFormat format);
// What a call begins with behind its marker, which models of the format often leave out; empty:
// none.
std::string_view BareCallMarker(ToolFormat format);

}  // namespace millrace
