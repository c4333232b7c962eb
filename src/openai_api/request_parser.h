// The bodies of chat completions, completions, tokenize and detokenize: JSON -> plain structs.
//
// Invariant: what a parser returns is within every stated range; a wrong value, a field that the
// design knows but this server cannot do yet, and (in strict mode) an unknown field give an
// ApiError that names the field. Depth and the size of objects are capped before anything is built;
// strings that are not UTF-8 are refused; of duplicate keys the last counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "answer_parts/answer_pattern.h"
#include "base/id.h"
#include "constrained_output/text_pattern.h"
#include "openai_api/api_error.h"
#include "prompt_reduction/reduce.h"
#include "sampling/sampler.h"
#include "speculative_decoding/speculation.h"

namespace millrace {

inline constexpr int kMaxJsonDepth = 64;
// Of one object: objects that keep their order are searched from the front, so reading a huge one
// would take quadratic time.
inline constexpr size_t kMaxJsonMembers = 1024;
inline constexpr int kMaxChoices = 8;    // n
inline constexpr int kMaxPrompts = 128;  // of one completions request, times n
inline constexpr int kMaxStopStrings = 4;
inline constexpr size_t kMaxDocuments = 10'000;
inline constexpr size_t kMaxDocumentId = 512;      // bytes
inline constexpr size_t kMaxDocumentTitle = 4096;  // bytes
inline constexpr size_t kMaxTools = 128;
inline constexpr size_t kMaxFunctionName = 64;          // bytes
inline constexpr size_t kMaxFunctionBytes = 64 * 1024;  // of one tool, as JSON
inline constexpr int32_t kMaxPriority = 2;              // and minus that

enum class UnknownFields { kIgnore, kRefuse };

// What the answer must look like, not compiled yet.
struct OutputConstraint {
  enum class Kind { kNone, kJsonObject, kJsonSchema, kGbnf, kRegex, kPattern };
  Kind kind = Kind::kNone;
  std::string text;          // the schema, grammar or expression
  std::string param;         // the field that asked for it
  TextPattern pattern = {};  // of kPattern
  // Of kPattern: the fields that it was made from, to say which is at fault.
  std::vector<std::pair<std::string, TextPattern>> parts = {};
};

struct GenerationOptions {
  std::string model;             // as the client named it
  SamplingParams sampling = {};  // its seed counts only when has_seed
  bool has_seed = false;
  std::optional<int32_t> max_tokens;  // absent: to the end of the context (chat), 16 (completions);
                                      // 0: the prompt alone, with echo
  int n = 1;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool stream = false;
  bool include_usage = false;
  bool echo =
      false;  // the prompt stands before its completion, with logprobs where these are asked
  std::string cache_salt;    // requests with different ones share no cached prefix
  bool prefix_cache = true;  // millrace.prefix_cache
  std::optional<bool> pin;   // millrace.pin: keep the prompt in the prefix cache, or no longer
  int32_t priority = 0;      // millrace.priority: higher ones begin first, among those of one key
  std::optional<int64_t> deadline_ms;    // millrace.deadline_ms: for the whole answer
  std::optional<Speculation> speculate;  // millrace.speculate
  bool explain = false;                  // millrace.explain: tell of each draft in the stream
  OutputConstraint constraint;
};

struct RequestedFunction {
  ToolFunction function;
  std::string param;  // the field with its schema
};
struct ToolRequest {
  std::vector<RequestedFunction> functions;  // that may be called; none: nothing is
  bool must_call = false;                    // tool_choice: required, or a function
  bool parallel = true;                      // more than one call in an answer
};

// Whether reasoning is kept apart from the content: by the markers of the model's template, not at
// all, or by <think> and </think> in any case.
enum class ReasoningFormat { kAuto, kNone, kThink };

struct ChatRequest {
  GenerationOptions options;
  // For the chat template: {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"};
  // content parts have been joined to strings (those of one message by line breaks).
  std::string template_json;
  // Passages that are not in it yet; several may have one id, or none.
  std::vector<Passage> documents;
  std::optional<ReductionConfig> reduce;  // millrace.reduce; absent: the server's
  std::string store;  // millrace.store: where passages are searched; empty: nowhere
  ToolRequest tools;
  bool mentions_tools = false;  // there are tools, calls or results in template_json
  ReasoningFormat reasoning = ReasoningFormat::kAuto;
  std::string prefill;   // the beginning of the answer: stands behind the rendered template
  std::string question;  // what passages are judged by: the last user's message
};

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  GenerationOptions options;
  std::vector<Prompt> prompts;  // at least one
  std::string suffix;           // of the text that is to be filled in; empty: none
};

struct TokenizeRequest {
  std::string text;
  bool add_special = true;     // begin with BOS where the model wants it
  bool parse_special = false;  // text such as <|im_end|> becomes the special token
};

ApiResult<ChatRequest> ParseChatRequest(std::string_view body, UnknownFields unknown);
ApiResult<CompletionRequest> ParseCompletionRequest(std::string_view body, UnknownFields unknown);
ApiResult<TokenizeRequest> ParseTokenizeRequest(std::string_view body);
ApiResult<std::vector<TokenId>> ParseDetokenizeRequest(std::string_view body);

}  // namespace millrace
