// How a Generation ends: the finish events of its choices, what it used, the answer's last bytes,
// the log line.
#include <algorithm>
#include <utility>

#include "server/generation.h"

namespace millrace::server_internal {

void Generation::TakeFinish(Choice& choice, const FinishInfo& finish, ChoiceText& delta) {
  const bool over = state_ == State::kOver;
  if (!over) choice.answer.Finish(choice.stream.stopped() ? "" : choice.stream.Finish());
  choice.done = true;
  --unfinished_;
  TakeTimings(choice, finish);
  const auto ended = [&](Metrics::Ending ending, const char* reason) {
    context_->metrics().SequenceEnded(ending, finish.timings, context_->SinceArrival());
    record_.finish_reasons += (record_.finish_reasons.empty() ? "" : ",") + std::string(reason);
  };
  if (finish.reason == FinishReason::kError) {
    ended(Metrics::Ending::kError, "error");
    Fail(ToApiError({finish.message.empty() ? "The generation failed." : finish.message,
                     ErrorKind::kInternal}),
         EndState::kFailed);
  } else if (!PromptOnly() && (choice.stream.stopped() || finish.reason == FinishReason::kStop)) {
    delta.finish_reason = choice.answer.has_calls() ? "tool_calls" : "stop";
    ended(Metrics::Ending::kStop, delta.finish_reason.c_str());
    delta.stop_string = choice.stream.stop_string();
  } else if (finish.reason == FinishReason::kLength || finish.reason == FinishReason::kStop) {
    ended(Metrics::Ending::kLength, "length");
    delta.finish_reason = "length";
  } else if (finish.reason == FinishReason::kDeadline) {
    ended(Metrics::Ending::kAbort, "deadline");
    ApiError error = HttpApiError(504, finish.message);
    error.code = "deadline_exceeded";
    Fail(error, EndState::kRefused);
  } else {
    ended(Metrics::Ending::kAbort, "abort");
    Fail(ToApiError({"The server is shutting down and cut this answer.", ErrorKind::kExhausted}),
         EndState::kCancelled);
  }
}

void Generation::TakeTimings(Choice& choice, const FinishInfo& finish) {
  const RequestTimings& t = finish.timings;
  Usage& usage = record_.usage;
  usage.completion_tokens += choice.output_tokens;
  usage.reasoning_tokens += choice.answer.reasoning_tokens();
  CountCached(choice, t);
  usage.computed_tokens += t.computed_tokens;
  usage.preemptions += t.preemptions;
  usage.recomputed_tokens += t.recomputed_tokens;
  usage.recomputed_cost_ms += t.recomputed_tokens * Milliseconds(t.prefill_row);
  usage.reduction_saved_ms =
      std::max(usage.reduction_saved_ms,
               static_cast<double>(usage.dropped_passage_tokens) * Milliseconds(t.prefill_row));
  usage.drafted_tokens += t.drafted_tokens;
  usage.accepted_tokens += t.accepted_tokens;
  usage.speculation_saved_ms += Milliseconds(t.speculation_saved);
  usage.queued_ms = std::max(usage.queued_ms, Milliseconds(t.queued));
  usage.prefill_ms = std::max(usage.prefill_ms, Milliseconds(t.prefill));
  usage.decode_ms = std::max(usage.decode_ms, Milliseconds(t.decode));
}

// A prompt counts once, however many choices it has, so its cached tokens do, too: those that even
// the choice that was computed first found.
void Generation::CountCached(const Choice& choice, const RequestTimings& timings) {
  PromptCount& prompt = prompts_[PromptOf(choice)];
  if (prompt.cached && *prompt.cached <= timings.cached_tokens) return;
  const double saved_ms = timings.cached_tokens * Milliseconds(timings.prefill_row);
  record_.usage.cached_tokens += timings.cached_tokens - prompt.cached.value_or(0);
  record_.usage.cached_saved_ms += saved_ms - std::exchange(prompt.cached_saved_ms, saved_ms);
  prompt.cached = timings.cached_tokens;
}

// The log line is written first: who has the answer finds it counted.
void Generation::Complete() {
  End(200, EndState::kCompleted);
  const Usage& usage = record_.usage;
  const Responder& responder = context_->responder();
  if (options_.stream) {
    Send(format_->End(head_, usage));
    responder.Close({{"x-millrace-savings", SavingsHeader(usage)}});
  } else {
    std::vector<ChoiceText> texts;
    for (Choice& choice : choices_) texts.push_back(std::move(choice.whole));
    HttpResponse response = JsonResponse(200, format_->Whole(head_, texts, usage));
    response.headers.push_back({"x-millrace-savings", SavingsHeader(usage)});
    for (HttpHeader& header : context_->IdHeaders()) response.headers.push_back(std::move(header));
    responder.Send(std::move(response));
  }
}

void Generation::Fail(const ApiError& error, EndState end) {
  if (state_ == State::kOver) return;
  End(error.status, end);
  HttpResponse response = context_->ErrorOf(error);
  for (HttpHeader& header : context_->IdHeaders()) response.headers.push_back(std::move(header));
  const Responder& responder = context_->responder();
  if (!responder.Send(std::move(response))) {  // the stream is open
    Send({format_->Failure(head_, error)});
    responder.Close();
  }
}

void Generation::OnDisconnect() {
  std::lock_guard lock(mutex_);
  if (state_ == State::kRunning) End(499, EndState::kCancelled);
}

// The answer is over: nothing more is generated for it.
void Generation::End(int status, EndState end) {
  state_ = State::kOver;
  ticket_.reset();
  logged_status_ = status;
  logged_end_ = end;
  for (Choice& choice : choices_) {
    if (choice.done) continue;
    if (choice.request) {
      context_->shared().model.engine->Cancel(*choice.request);
    } else {
      choice.done = true;  // the engine never had it
      --unfinished_;
    }
  }
  LogOnceAllEnded();
}

void Generation::LogOnceAllEnded() {
  if (unfinished_ > 0) return;
  if (const ApiKey* key = context_->api_key())
    context_->load().Use(key->id, record_.usage.completion_tokens);
  context_->Log(logged_status_, logged_end_, record_);
}

}  // namespace millrace::server_internal
