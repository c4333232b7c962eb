// What goes into the engine and what comes out: token ids and numbers only. Text and JSON stay with
// the callers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "constrained_output/output_grammar.h"
#include "model/model.h"
#include "sampling/sampler.h"
#include "speculative_decoding/speculation.h"

namespace millrace {

// What happens to the prompt's cached blocks once it is computed.
enum class PinAction { kNone, kPin, kUnpin };

struct Request {
  std::vector<TokenId> prompt;  // at least one token
  SamplingParams sampling = {};
  int32_t max_tokens = 16;  // at least 1; prompt + max_tokens is cut to the context by the engine
  std::vector<TokenId> stop_tokens;  // end-of-generation ids; such a token ends the request and is
                                     // part of the output
  // Prefix reuse: only requests of the same namespace share blocks. Off: nothing is taken from the
  // cache and nothing left in it.
  bool prefix_cache = true;
  std::string cache_space;
  // The adapter of the model that computes it; none: the base model. Requests under different
  // adapters share no blocks, whatever their namespace.
  std::optional<AdapterId> adapter = {};
  PinAction pin = PinAction::kNone;
  // When its turn is (waiting_queue.h): whose it is, and how urgent among that client's.
  std::string client;
  int32_t priority = 0;
  // Counted from Submit; when it is over, or waiting cannot end in time any more, the request ends
  // with kDeadline.
  std::optional<Duration> time_limit;
  // Which drafters may be used; none: as the engine's configuration says. An engine whose
  // speculation is off uses none.
  std::optional<Speculation> speculate = {};
  bool explain = false;  // its events tell of each draft
  // Its first event tells what the model said of each prompt token but the first, with the logprobs
  // that sampling.top_logprobs asks for (at least 0). Then the prefix cache is not used: it keeps
  // no logits.
  bool score_prompt = false;
  // What the answer must look like; its vocabulary must be the model's. The answer ends with one of
  // the vocabulary's end tokens, or where nothing may follow.
  std::shared_ptr<const OutputGrammar> grammar = {};
};

enum class FinishReason {
  kStop,       // a stop token, the end of the grammar, or the consumer's stop string (Cancel)
  kLength,     // max_tokens or the context is used up
  kCancelled,  // the client went away or the server is stopping
  kDeadline,   // the time limit is over, or cannot be kept any more
  kError,
};
// "stop", "length", "cancelled", "deadline", "error"
std::string_view NameOf(FinishReason reason);

// Where a request's time went. Queue + prefill + decode == finish - arrival.
struct RequestTimings {
  Duration queued{};   // arrival to first being scheduled
  Duration prefill{};  // first scheduled to first token
  Duration decode{};   // first token to finish
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  int32_t cached_tokens = 0;    // prompt tokens taken from the prefix cache when first scheduled
  int32_t computed_tokens = 0;  // tokens that went through the model, recomputation included
  int32_t preemptions = 0;
  int32_t recomputed_tokens = 0;  // of them, those that a preemption had thrown away
  Duration prefill_row{};         // what a prefill token takes, as measured lately; 0: not yet
  int32_t drafted_tokens = 0;     // proposed by a drafter and verified
  int32_t accepted_tokens = 0;    // of them, those that are part of the output
  // What steps took less, for this request's tokens, than plain ones would have, as estimated; less
  // than nothing where drafts, its own or its neighbours', cost it time.
  Duration speculation_saved{};
};

// What became of a draft: the proposed tokens, of which the first `accepted` stand in the output;
// then follows a token of the target's own, which corrects the draft where it was not right.
struct DraftReport {
  DrafterKind drafter = DrafterKind::kLookup;
  std::vector<TokenId> proposed;
  int32_t accepted = 0;
  Duration drafting{};   // of all drafts of the step
  Duration verifying{};  // the step without that
};

struct FinishInfo {
  FinishReason reason = FinishReason::kStop;
  std::string message;  // for kError and kDeadline
  RequestTimings timings;
};

// Something that happened to one request in one step: tokens appended (several after a speculative
// step), or its end.
struct Event {
  RequestId request;
  std::vector<Sampled> tokens;
  std::vector<Sampled> prompt = {};  // of its tokens but the first, where score_prompt is set
  std::optional<DraftReport> draft;  // where the request asked for it and there was one
  std::optional<FinishInfo>
      finish;  // the last event of a request; every accepted request gets exactly one
};

// Called on the engine's thread; must be quick and must not throw or call back into the engine,
// except Cancel.
using EventSink = std::function<void(const Event&)>;

}  // namespace millrace
