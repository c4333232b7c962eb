// Generation: one HTTP request for text, as one or more engine requests (n choices of each prompt),
// from Submit to the last byte. Internal to server/.
//
// Invariant: every engine request it submits is finished or cancelled by the time its answer is
// over; the answer is whole, or a stream that ends with [DONE], or a stream that ends with an error
// event and without [DONE].
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "openai_api/request_parser.h"
#include "openai_api/response.h"
#include "server/request_context.h"
#include "tokenizer/text_stream.h"

namespace millrace::server_internal {

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // `prompts`: token ids, at least one prompt.
  static void Start(ContextPointer context, Endpoint endpoint, GenerationOptions options,
                    std::vector<std::vector<TokenId>> prompts);

  Generation(ContextPointer context, Endpoint endpoint, GenerationOptions options, size_t choices,
             std::optional<KeyLoad::Ticket> ticket);
  ~Generation();

 private:
  struct Choice {
    Choice(const Tokenizer& tokenizer, const std::vector<std::string>& stop)
        : stream(tokenizer, stop) {}
    TextStream stream;
    std::optional<RequestId> request;
    ChoiceText whole;        // of an answer that is not streamed
    int64_t characters = 0;  // for text_offset
    int64_t output_tokens = 0;
    bool done = false;
  };
  enum class State { kRunning, kOver };

  std::optional<ApiError> Submit(const std::vector<std::vector<TokenId>>& prompts);
  void OnEvent(size_t index, const Event& event);
  void OnDisconnect();
  // The rest with mutex_ held.
  void TakeToken(Choice& choice, const Event& event, const Sampled& sampled, ChoiceText& delta);
  void TakeFinish(Choice& choice, const FinishInfo& finish, ChoiceText& delta);
  void CountCached(const Choice& choice, int32_t tokens);
  TokenReport Report(Choice& choice, const Sampled& sampled) const;
  void StartStream();
  void Complete();
  void Fail(const ApiError& error);
  void CancelAll();
  RequestRecord Numbers() const;

  const ContextPointer context_;
  std::optional<KeyLoad::Ticket> ticket_;  // given back before the answer ends
  const GenerationOptions options_;
  ResponseHead head_;
  std::mutex mutex_;
  State state_ = State::kRunning;
  std::vector<Choice> choices_;
  size_t unfinished_;
  std::vector<std::optional<int32_t>> cached_;  // of each prompt, by the choice that had least
  Usage usage_;
};

}  // namespace millrace::server_internal
