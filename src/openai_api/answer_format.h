// AnswerFormat: how one answer is written, whole or as a stream of events: as OpenAI's chat
// completions and completions, as OpenAI's responses, as Anthropic's messages. All of them are
// given the same choices, deltas and usage.
//
// Invariant: a stream is what Begin gives, then what each Delta gives, then what End gives; or, at
// any point after Begin, the one event of Failure in place of the rest. A format belongs to one
// answer and is used by one thread at a time: it may keep what it wrote.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "openai_api/api_error.h"
#include "openai_api/response.h"

namespace millrace {

// A server-sent event; a name that is empty is left out.
struct StreamEvent {
  std::string name;
  std::string data;
};

class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;

  virtual std::string_view IdPrefix() const = 0;  // "chatcmpl-"
  virtual std::string_view CallIdPrefix() const { return "call_"; }
  virtual std::string Whole(const ResponseHead& head, std::span<const ChoiceText> choices,
                            const Usage& usage) = 0;
  // `usage`: only prompt_tokens is known.
  virtual std::vector<StreamEvent> Begin(const ResponseHead& head, size_t choices,
                                         const Usage& usage) = 0;
  virtual std::vector<StreamEvent> Delta(const ResponseHead& head, const ChoiceText& delta) = 0;
  virtual std::vector<StreamEvent> Draft(const ResponseHead&, const DraftStep&) { return {}; }
  virtual std::vector<StreamEvent> End(const ResponseHead& head, const Usage& usage) = 0;
  virtual StreamEvent Failure(const ResponseHead& head, const ApiError& error) = 0;
};

// Chat completions, or completions, as the head's endpoint says; a stream ends with [DONE].
std::unique_ptr<AnswerFormat> MakeCompletionFormat(Endpoint endpoint);

}  // namespace millrace
