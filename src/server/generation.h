// Generation: one HTTP request for text, as one or more engine requests (n choices of each prompt),
// from Submit to the last byte. Internal to server/.
//
// Invariant: every engine request it submits is finished or cancelled by the time its answer is
// over; the answer is whole, or a stream that ends with [DONE], or a stream that ends with an error
// event and without [DONE]. The one log line comes with the last finish event, so that it knows
// the times of those that were cancelled, too.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "openai_api/answer_format.h"
#include "openai_api/request_parser.h"
#include "openai_api/response.h"
#include "server/divided_answer.h"
#include "server/event_queue.h"
#include "server/request_context.h"
#include "tokenizer/text_stream.h"

namespace millrace::server_internal {

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  struct Plan {
    Endpoint endpoint = Endpoint::kChat;
    GenerationOptions options;
    std::vector<std::vector<TokenId>> prompts;   // at least one
    std::vector<std::string> prompt_texts = {};  // where the options say echo
    // What became of the passages of a request that had some.
    std::shared_ptr<const ReductionReport> reduction = nullptr;
    std::unique_ptr<AnswerFormat> format = nullptr;  // none: OpenAI's for the endpoint
    AnswerReading reading = {};
  };
  static void Start(ContextPointer context, Plan plan);

  Generation(ContextPointer context, Plan plan, std::optional<KeyLoad::Ticket> ticket);
  ~Generation();

 private:
  struct Choice {
    Choice(const Tokenizer& tokenizer, const std::vector<std::string>& stop, DividedAnswer divided)
        : stream(tokenizer, stop), answer(std::move(divided)) {}
    TextStream stream;
    DividedAnswer answer;
    std::optional<RequestId> request;
    std::optional<CitationFinder> citations;
    std::optional<TimePoint> last_tokens;  // when they came
    ChoiceText whole;                      // of an answer that is not streamed
    int64_t characters = 0;                // for text_offset
    int64_t output_tokens = 0;
    bool echoed = false;  // the prompt, where it is wanted
    bool done = false;
  };
  // kOver: the answer is, though the engine may not have said its last word of every choice.
  enum class State { kRunning, kOver };

  std::optional<ApiError> Submit(std::shared_ptr<const OutputGrammar> grammar);
  // On the engine's thread: hands the event to a formatter, which calls OnEvent.
  void TakeEvent(size_t index, const Event& event);
  void OnEvent(size_t index, const Event& event);
  void OnDisconnect();
  // The rest with mutex_ held.
  void EchoPrompt(Choice& choice, const Event& event, ChoiceText& delta);
  bool PromptOnly() const { return options_.max_tokens == 0; }
  void TakeToken(Choice& choice, const Event& event, const Sampled& sampled, ChoiceText& delta);
  void TakeFinish(Choice& choice, const FinishInfo& finish, ChoiceText& delta);
  void Deliver(Choice& choice, ChoiceText delta);
  std::string MakeCallId(ToolFormat format) const;
  void TakeTimings(Choice& choice, const FinishInfo& finish);
  void CountCached(const Choice& choice, const RequestTimings& timings);
  void Observe(Choice& choice, int64_t new_tokens);
  void TellOfPassages(std::shared_ptr<const ReductionReport> reduction);
  size_t PromptOf(const Choice& choice) const;
  void Send(const std::vector<StreamEvent>& events) const;
  void SendDraft(const Choice& choice, const Event& event) const;
  TokenReport Report(Choice& choice, const Sampled& sampled) const;
  void StartStream();
  void Complete();
  void Fail(const ApiError& error, EndState end);
  void End(int status, EndState end);
  void LogOnceAllEnded();

  const ContextPointer context_;
  std::optional<KeyLoad::Ticket> ticket_;  // given back before the answer ends
  const GenerationOptions options_;
  const std::optional<AdapterId> adapter_;
  std::vector<std::vector<TokenId>> prompt_tokens_;  // until they are submitted, or echoed
  std::vector<std::string> prompt_texts_;
  ResponseHead head_;
  const std::unique_ptr<AnswerFormat> format_;  // from StartStream on with mutex_ held
  EventQueue events_;
  std::mutex mutex_;
  State state_ = State::kRunning;
  std::vector<Choice> choices_;
  size_t unfinished_;
  // Of each prompt.
  struct PromptCount {
    int64_t tokens = 0;
    bool computed = false;
    std::optional<int32_t> cached;  // by the choice that had least
    double cached_saved_ms = 0;
  };
  std::vector<PromptCount> prompts_;
  RequestRecord::GenerationPart record_;
  int logged_status_ = 0;  // of an answer that is over
  EndState logged_end_ = EndState::kCompleted;
};

}  // namespace millrace::server_internal
