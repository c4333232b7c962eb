// DividedAnswer: the text of one choice, token by token -> what is sent of it: reasoning, content
// and tool calls apart, in their order. Internal to server/.
//
// Without anything to read (AnswerReading::reads_anything) the text goes through as it is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer_parts/answer_reader.h"
#include "openai_api/response.h"
#include "tokenizer/text_stream.h"

namespace millrace::server_internal {

class DividedAnswer {
 public:
  // `call_id` makes the id of a call.
  DividedAnswer(const AnswerReading& reading, std::function<std::string()> call_id);

  // The control tokens that must be shown for calls and reasoning to be found.
  static std::vector<TokenId> ShownTokens(const AnswerReading& reading, const Tokenizer& tokenizer);

  // What one more token adds.
  void Take(std::string_view text);
  // Text that was held back, once no more tokens come.
  void Finish(std::string_view rest);
  // What has come since, as deltas of one kind each; the first holds `delta`'s logprobs. At least
  // one, which may be empty.
  std::vector<ChoiceText> TakeDeltas(ChoiceText delta);

  bool has_calls() const { return reader_ && reader_->calls() > 0; }
  int64_t reasoning_tokens() const {
    return reader_ && reader_->has_reasoned() ? tokens_until_content_ : 0;
  }

 private:
  void Add(std::vector<AnswerPart> parts);

  const std::function<std::string()> call_id_;
  std::optional<AnswerReader> reader_;
  std::vector<AnswerPart> parts_;
  int64_t tokens_until_content_ = 0;
};

// Adds a delta to a choice that is collected.
void AddDelta(ChoiceText& whole, ChoiceText delta);

}  // namespace millrace::server_internal
