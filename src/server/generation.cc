#include "server/generation.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

#include "openai_api/template_chat.h"
#include "server/key_limits.h"

namespace millrace::server_internal {

Generation::Generation(ContextPointer context, Plan plan, std::optional<KeyLoad::Ticket> ticket)
    : context_(std::move(context)),
      ticket_(std::move(ticket)),
      options_(std::move(plan.options)),
      adapter_(AdapterOf(context_->shared().model, options_.model)),
      prompt_tokens_(std::move(plan.prompts)),
      prompt_texts_(std::move(plan.prompt_texts)),
      format_(plan.format ? std::move(plan.format) : MakeCompletionFormat(plan.endpoint)) {
  const Shared& shared = context_->shared();
  head_.endpoint = plan.endpoint;
  head_.id = fmt::format("{}{:016x}", format_->IdPrefix(), shared.config.random());
  head_.created = std::time(nullptr);
  if (adapter_) {
    const std::vector<AdapterInfo>& adapters = shared.model.engine->info().adapters;
    record_.adapter = adapters[static_cast<size_t>(adapter_->value)].name;
  }
  head_.model = adapter_ ? record_.adapter : shared.model.id;
  head_.fingerprint = "millrace-" + shared.config.version;
  head_.logprobs = options_.sampling.top_logprobs >= 0;
  head_.include_usage = options_.include_usage;
  unfinished_ = prompt_tokens_.size() * static_cast<size_t>(options_.n);
  const auto shown = DividedAnswer::ShownTokens(plan.reading, *shared.model.tokenizer);
  const auto call_id = [this, format = plan.reading.format] { return MakeCallId(format); };
  for (size_t i = 0; i < unfinished_; ++i) {
    Choice& choice = choices_.emplace_back(*shared.model.tokenizer, options_.stop,
                                           DividedAnswer(plan.reading, call_id));
    choice.stream.Show(shown);
    choice.whole.index = static_cast<int>(i);
    // A chat's answer begins afresh; a completion goes on where its prompt ends.
    if (head_.endpoint == Endpoint::kCompletions)
      choice.stream.GoOnBehind(prompt_tokens_[PromptOf(choice)]);
  }
  record_.choices = static_cast<int>(unfinished_);
  record_.stream = options_.stream;
  const int32_t longest = shared.model.engine->config().context_length;
  record_.max_tokens = std::clamp(options_.max_tokens.value_or(longest), 1, std::max(longest, 1));
  ++context_->generations();
}

Generation::~Generation() { --context_->generations(); }

void Generation::Start(ContextPointer context, Plan plan) {
  context->KeepForRecord(plan.prompts.front());
  // Before the grammar: who is over a limit must not cost the time that compiling one takes.
  std::optional<KeyLoad::Ticket> ticket;
  if (const ApiKey* key = context->api_key()) {
    int64_t tokens = 0;
    for (const auto& prompt : plan.prompts) tokens += static_cast<int64_t>(prompt.size());
    auto entered = EnterKeyLoad(context, *key, tokens);
    if (const auto* error = std::get_if<ApiError>(&entered)) return context->Refuse(*error);
    ticket.emplace(std::get<KeyLoad::Ticket>(std::move(entered)));
  }
  auto compiled =
      context->grammars().Get(plan.options.constraint, *context->shared().model.tokenizer);
  if (const auto* error = std::get_if<ApiError>(&compiled)) {
    ticket.reset();  // before the answer, as at the end of a generation
    return context->Refuse(*error);
  }
  auto grammar = std::get<std::shared_ptr<const OutputGrammar>>(std::move(compiled));
  auto reduction = std::move(plan.reduction);
  auto generation =
      std::make_shared<Generation>(std::move(context), std::move(plan), std::move(ticket));
  if (reduction) generation->TellOfPassages(std::move(reduction));
  // Before Submit, so that a client that has gone already costs nothing. Weak: the callback must
  // not keep it alive.
  generation->context_->responder().OnDisconnect([weak = std::weak_ptr<Generation>(generation)] {
    if (const auto self = weak.lock()) self->OnDisconnect();
  });
  // Held while submitting: events of the first choices wait, so an answer never starts before all
  // are accepted.
  std::lock_guard lock(generation->mutex_);
  if (const auto error = generation->Submit(std::move(grammar))) {
    generation->Fail(*error, error->status == 500 ? EndState::kFailed : EndState::kRefused);
  } else if (generation->state_ == State::kRunning && generation->options_.stream) {
    generation->StartStream();
  }
}

// Before Submit.
void Generation::TellOfPassages(std::shared_ptr<const ReductionReport> reduction) {
  for (Choice& choice : choices_) choice.citations.emplace(reduction->reduced.kept.size());
  Usage& usage = record_.usage;
  usage.dropped_passages = static_cast<int64_t>(reduction->reduced.dropped());
  usage.dropped_passage_tokens = reduction->reduced.tokens_before - reduction->reduced.tokens_after;
  usage.reduction_ms = reduction->took_ms;
  head_.reduction = std::move(reduction);
}

std::optional<ApiError> Generation::Submit(std::shared_ptr<const OutputGrammar> grammar) {
  const ServedModel& model = context_->shared().model;
  Request request;
  request.sampling = options_.sampling;
  const uint64_t seed =
      options_.has_seed ? options_.sampling.seed : context_->shared().config.random();
  // Without a limit of its own a request runs to the end of the context; the engine cuts it there.
  request.max_tokens =
      std::max(1, options_.max_tokens.value_or(std::numeric_limits<int32_t>::max()));
  if (!options_.ignore_eos) {
    const auto ends = model.tokenizer->end_of_generation();
    request.stop_tokens.assign(ends.begin(), ends.end());
  }
  request.prefix_cache = options_.prefix_cache;
  request.cache_space = CacheSpace(context_->key(), options_.cache_salt);
  request.adapter = adapter_;
  request.speculate = options_.speculate;
  request.explain = options_.explain;
  request.score_prompt = options_.echo && head_.logprobs;
  request.grammar = std::move(grammar);
  if (options_.pin) request.pin = *options_.pin ? PinAction::kPin : PinAction::kUnpin;
  for (const auto& prompt : prompt_tokens_) {
    prompts_.push_back({.tokens = static_cast<int64_t>(prompt.size()), .cached = {}});
    record_.usage.prompt_tokens += prompts_.back().tokens;
  }
  request.client = context_->key();
  request.priority = options_.priority;
  if (options_.deadline_ms) {
    const Duration limit = std::chrono::milliseconds(*options_.deadline_ms);
    request.time_limit = std::max(limit - context_->SinceArrival(), Duration(0));
  }
  size_t choice = 0;
  for (size_t p = 0; p < prompt_tokens_.size() && state_ == State::kRunning; ++p) {
    request.prompt = prompt_tokens_[p];
    std::vector<Engine::Fork> forks;
    for (int n = 0; n < options_.n; ++n) {
      const size_t i = choice + forks.size();
      request.sampling.seed = seed + i;
      forks.push_back({request.sampling, [self = shared_from_this(), i](const Event& event) {
                         self->TakeEvent(i, event);
                       }});
    }
    const auto submitted = model.engine->SubmitForks(request, std::move(forks));
    if (!submitted.ok()) return ToApiError(submitted.error());
    for (const RequestId id : *submitted) {
      choices_[choice].request = id;
      context_->names().Add(id, fmt::format("{}/{}", context_->id(), choice++));
    }
  }
  if (!request.score_prompt) prompt_tokens_.clear();
  return std::nullopt;
}

void Generation::StartStream() {
  if (!context_->responder().StartEventStream(context_->IdHeaders())) return;  // gone: OnDisconnect
  Send(format_->Begin(head_, choices_.size(), record_.usage));
}

void Generation::Send(const std::vector<StreamEvent>& events) const {
  for (const StreamEvent& event : events) {
    context_->responder().SendEvent(event.data, event.name);
  }
}

void Generation::TakeEvent(size_t index, const Event& event) {
  if (!events_.Push(index, event)) return;
  const auto drain = [self = shared_from_this()] {
    self->events_.Drain([&](size_t i, const Event& next) { self->OnEvent(i, next); });
  };
  const auto formatters = context_->shared().formatters.lock();
  if (!formatters || !formatters->Post(drain)) drain();
}

void Generation::OnEvent(size_t index, const Event& event) {
  std::lock_guard lock(mutex_);
  Choice& choice = choices_[index];
  if (choice.done) return;
  ChoiceText delta;
  delta.index = choice.whole.index;
  const int64_t before = choice.output_tokens;
  if (state_ == State::kRunning) {
    if (options_.echo && !std::exchange(choice.echoed, true)) EchoPrompt(choice, event, delta);
    for (const Sampled& sampled : event.tokens) TakeToken(choice, event, sampled, delta);
  }
  if (choice.output_tokens > before || (PromptOnly() && !event.tokens.empty()))
    Observe(choice, choice.output_tokens - before);
  if (event.finish) TakeFinish(choice, *event.finish, delta);
  if (state_ == State::kOver) return LogOnceAllEnded();
  if (options_.stream && event.draft) SendDraft(choice, event);
  Deliver(choice, std::move(delta));
  if (unfinished_ == 0) Complete();
}

// Reasoning, content and calls are sent apart, in their order.
void Generation::Deliver(Choice& choice, ChoiceText delta) {
  std::string reason = std::move(delta.finish_reason), stop = std::move(delta.stop_string);
  std::vector<ChoiceText> deltas = choice.answer.TakeDeltas(std::move(delta));
  deltas.back().finish_reason = std::move(reason);
  deltas.back().stop_string = std::move(stop);
  for (ChoiceText& one : deltas) {
    if (choice.citations) one.citations = choice.citations->Take(one.text);
    if (!options_.stream) {
      AddDelta(choice.whole, std::move(one));
    } else if (!one.text.empty() || !one.reasoning.empty() || !one.calls.empty() ||
               !one.logprobs.empty() || !one.finish_reason.empty()) {
      Send(format_->Delta(head_, one));
    }
  }
}

// Templates of Mistral's take ids of nine letters and digits only.
std::string Generation::MakeCallId(ToolFormat format) const {
  const uint64_t number = context_->shared().config.random();
  if (format != ToolFormat::kMistral && format != ToolFormat::kMistralArgs)
    return fmt::format("{}{:016x}", format_->CallIdPrefix(), number);
  return NineCharactersOf(number);
}

// The prompt before its completion. The first token has no logprob: it follows nothing.
void Generation::EchoPrompt(Choice& choice, const Event& event, ChoiceText& delta) {
  const std::string& text = prompt_texts_[PromptOf(choice)];
  delta.text += text;
  if (head_.logprobs) {
    Sampled unscored;
    unscored.token = prompt_tokens_[PromptOf(choice)].front();
    TokenReport first = Report(choice, unscored);
    first.scored = false;
    delta.logprobs.push_back(std::move(first));
    for (const Sampled& sampled : event.prompt) delta.logprobs.push_back(Report(choice, sampled));
  }
  choice.characters = CountCharacters(text);
}

void Generation::TakeToken(Choice& choice, const Event& event, const Sampled& sampled,
                           ChoiceText& delta) {
  if (PromptOnly() || choice.stream.stopped())
    return;  // computed in the same step, after the stop string
  ++choice.output_tokens;
  choice.answer.Take(choice.stream.Append(sampled.token));
  if (head_.logprobs) delta.logprobs.push_back(Report(choice, sampled));
  if (choice.stream.stopped() && !event.finish) {
    context_->shared().model.engine->Cancel(event.request, FinishReason::kStop);
  }
}

// The metrics of tokens that have just come.
void Generation::Observe(Choice& choice, int64_t new_tokens) {
  Metrics& metrics = context_->metrics();
  const TimePoint now = context_->shared().clock.Now();
  PromptCount& prompt = prompts_[PromptOf(choice)];
  if (!std::exchange(prompt.computed, true)) metrics.PromptComputed(prompt.tokens, adapter_);
  metrics.TokensGenerated(new_tokens, adapter_);
  if (choice.last_tokens) {
    metrics.NextTokens(now - *choice.last_tokens);
  } else {
    metrics.FirstToken(context_->SinceArrival());
    if (record_.first_token_ms == 0)
      record_.first_token_ms = Milliseconds(context_->SinceArrival());
  }
  choice.last_tokens = now;
}

void Generation::SendDraft(const Choice& choice, const Event& event) const {
  const Tokenizer& tokenizer = *context_->shared().model.tokenizer;
  const auto text = [&](TokenId token) {
    return std::string(tokenizer.TokenBytes(token, ControlTokens::kShow));
  };
  const DraftReport& draft = *event.draft;
  DraftStep step{.index = choice.whole.index,
                 .drafter = std::string(NameOf(draft.drafter)),
                 .proposed = {},
                 .accepted = draft.accepted,
                 .next = {},
                 .drafting_ms = Milliseconds(draft.drafting),
                 .verifying_ms = Milliseconds(draft.verifying)};
  for (const TokenId token : draft.proposed) step.proposed.push_back(text(token));
  const auto accepted = static_cast<size_t>(draft.accepted);
  if (event.tokens.size() > accepted) step.next = text(event.tokens[accepted].token);
  Send(format_->Draft(head_, step));
}

TokenReport Generation::Report(Choice& choice, const Sampled& sampled) const {
  const Tokenizer& tokenizer = *context_->shared().model.tokenizer;
  const auto text = [&](TokenId token, float logprob) {
    return TokenText{std::string(tokenizer.TokenBytes(token, ControlTokens::kShow)), logprob};
  };
  TokenReport report;
  report.chosen = text(sampled.token, sampled.logprob);
  for (const TokenLogprob& top : sampled.top_logprobs) {
    report.top.push_back(text(top.token, top.logprob));
  }
  report.text_offset = choice.characters;
  choice.characters += CountCharacters(tokenizer.TokenBytes(sampled.token));
  return report;
}

size_t Generation::PromptOf(const Choice& choice) const {
  return static_cast<size_t>(choice.whole.index / options_.n);
}

}  // namespace millrace::server_internal
