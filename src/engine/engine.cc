#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/engine_state.h"

namespace millrace {
namespace {

// What can be said about a request without looking at the engine's state.
Status CheckRequest(const Request& request, int32_t vocab_size) {
  if (request.prompt.empty()) return Error{"The prompt is empty: it must hold at least one token."};
  for (TokenId token : request.prompt) {
    if (token.value < 0 || token.value >= vocab_size) {
      return Error{
          fmt::format("The prompt holds token {}, but the model's vocabulary has the ids 0 to {}.",
                      token.value, vocab_size - 1)};
    }
  }
  if (request.max_tokens < 1) {
    return Error{fmt::format("max_tokens is {}, but must be at least 1.", request.max_tokens)};
  }
  return Validate(request.sampling, vocab_size);
}

// At least one token must fit behind the prompt.
Status CheckLength(size_t prompt_tokens, int32_t context_length, int32_t longest) {
  if (prompt_tokens >= static_cast<size_t>(context_length)) {
    return Error{fmt::format("This model's maximum context length is {} tokens, but the prompt "
                             "holds {} tokens: shorten the prompt.",
                             context_length, prompt_tokens),
                 ErrorKind::kTooLarge};
  }
  if (prompt_tokens >= static_cast<size_t>(longest)) {
    return Error{fmt::format("The server's KV memory holds {} tokens, but the prompt holds {} "
                             "tokens: shorten the prompt or give the server more KV memory.",
                             longest, prompt_tokens),
                 ErrorKind::kTooLarge};
  }
  return {};
}

LiveRequest MakeLive(Request&& request, EventSink&& sink, int32_t longest, int32_t vocab_size,
                     Speculation default_speculation, TimePoint now) {
  const auto prompt_tokens = static_cast<int32_t>(request.prompt.size());
  LiveRequest live{
      .id = {},
      .tokens = std::move(request.prompt),
      .stop_tokens = std::move(request.stop_tokens),
      .max_length = prompt_tokens + std::min(request.max_tokens, longest - prompt_tokens),
      .sampler = Sampler(std::move(request.sampling), vocab_size),
      .sink = std::move(sink),
      .prefix_cache = request.prefix_cache,
      .cache_space = std::move(request.cache_space),
      .pin = request.pin,
      .speculate = request.speculate.value_or(default_speculation),
      .explain = request.explain,
      .arrival = now,
      .first_scheduled = {},
      .first_token = {},
      .timings = {}};
  live.sampler.ObservePrompt(live.tokens);
  live.timings.prompt_tokens = prompt_tokens;
  return live;
}

}  // namespace

std::string_view NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "unknown";
}

Status Validate(const EngineConfig& config) {
  RETURN_IF_ERROR(Validate(config.scheduler));
  RETURN_IF_ERROR(Validate(config.speculation));
  if (config.context_length < 2) {
    return Error{fmt::format("The context length is {}, but must be at least 2 tokens.",
                             config.context_length)};
  }
  if (config.max_queued_requests < 1 || config.max_queued_tokens < 1) {
    return Error{
        fmt::format("The queue's bounds are {} requests and {} tokens, but both must be "
                    "at least 1.",
                    config.max_queued_requests, config.max_queued_tokens)};
  }
  return {};
}

Engine::Engine(const EngineConfig& config, std::unique_ptr<Model> model, KvStore kv, Clock clock,
               std::unique_ptr<DiskTier> disk, std::unique_ptr<DraftModel> draft)
    : state_(std::make_unique<State>(config, std::move(model), std::move(kv), std::move(clock),
                                     std::move(disk), std::move(draft))) {}

Engine::~Engine() {
  Stop();
  Step();
  state_->SaveToDisk();
}

Result<RequestId> Engine::Submit(Request request, EventSink sink) {
  State& s = *state_;
  const int32_t vocab_size = s.model->info().vocab_size;
  RETURN_IF_ERROR(CheckRequest(request, vocab_size));
  if (request.speculate == Speculation::kDraft && s.speculator.active() &&
      !s.speculator.has_draft_model()) {
    return Error{
        "Speculation 'draft' needs a draft model, and this server has none: choose auto, "
        "off, lookup or suffix."};
  }
  RETURN_IF_ERROR(CheckLength(request.prompt.size(), s.config.context_length, s.longest));
  LiveRequest live = MakeLive(std::move(request), std::move(sink), s.longest, vocab_size,
                              s.config.speculation.mode, s.clock.Now());
  const int32_t prompt_tokens = live.timings.prompt_tokens;

  RequestId id;
  {
    const std::lock_guard lock(s.mutex);
    RETURN_IF_ERROR(s.CheckRoom(prompt_tokens));
    id = live.id = RequestId(s.next_id++);
    ++s.queued_requests;
    s.queued_tokens += prompt_tokens;
    s.inbox.push_back(std::move(live));
  }
  s.wake.notify_one();
  return id;
}

Status Engine::CheckRoom() const {
  const std::lock_guard lock(state_->mutex);
  return state_->CheckRoom(1);
}

void Engine::Cancel(RequestId request, FinishReason reason) {
  State& s = *state_;
  {
    const std::lock_guard lock(s.mutex);
    s.cancellations.push_back({request, reason});
  }
  s.wake.notify_one();
}

bool Engine::Step() {
  State& s = *state_;
  s.AdmitInbox();
  s.RestoreFromDisk();
  const TimePoint begun = s.clock.Now();
  StepPlan plan = s.PlanStep();
  if (!plan.slices.empty()) {
    s.Draft(plan);
    s.MakeBatch(plan);
    const MatrixView<const float> logits = s.model->Forward(s.batch, s.kv);
    s.Verify(plan, logits);
    s.Commit(plan);
    s.NoteParts(plan);
    s.AccountForDrafts();
    s.PublishStats();  // before the events: who has seen its finish is no longer counted as running
    s.Emit();
    const TimePoint ended = s.clock.Now();
    s.scheduler.Observe(plan, ended - begun);
    s.NoteStep(begun, ended);
  }
  return s.PublishStats();
}

void Engine::Run() {
  State& s = *state_;
  for (;;) {
    const bool any_left = Step();
    std::unique_lock lock(s.mutex);
    if (!any_left) {
      s.wake.wait(lock, [&s] { return s.stop || !s.inbox.empty() || !s.cancellations.empty(); });
    }
    if (s.stop) break;
  }
  Step();  // ends what is left
}

void Engine::Drain() {
  const std::lock_guard lock(state_->mutex);
  state_->draining = true;
}

void Engine::Stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_one();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(state_->mutex);
  EngineStats stats = state_->published;
  stats.waiting += state_->queued_requests;
  return stats;
}

Duration Engine::RetryAfter() const {
  const std::lock_guard lock(state_->mutex);
  const State& s = *state_;
  const auto time = s.published_pace.TimeFor(s.queued_requests, s.queued_tokens);
  return std::max<Duration>(time.value_or(Duration(0)), std::chrono::seconds(1));
}

std::vector<TimelineStep> Engine::LastSteps(size_t most) const {
  return state_->timeline.Last(most);
}

const ModelInfo& Engine::info() const { return state_->model->info(); }
const EngineConfig& Engine::config() const { return state_->config; }

}  // namespace millrace
