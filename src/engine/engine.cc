#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/cache_space.h"
#include "engine/engine_state.h"

namespace millrace {
namespace {

// Each row of a scored prompt has logits of the vocabulary's size: so many rows of one request in a
// step.
constexpr int32_t kScoredChunk = 64;

// What can be said about a request without looking at the engine's state.
Status CheckRequest(const Request& request, std::span<const Engine::Fork> forks,
                    const ModelInfo& model) {
  const int32_t vocab_size = model.vocab_size;
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
  for (const Engine::Fork& fork : forks) {
    RETURN_IF_ERROR(Validate(fork.sampling, vocab_size));
    if (request.score_prompt && fork.sampling.top_logprobs < 0) {
      return Error{"score_prompt needs top_logprobs of at least 0."};
    }
  }
  const auto adapters = static_cast<int32_t>(model.adapters.size());
  if (request.adapter && (request.adapter->value < 0 || request.adapter->value >= adapters)) {
    return Error{fmt::format("The request asks for adapter {}, but the model has {}.",
                             request.adapter->value, adapters)};
  }
  if (request.grammar && request.grammar->vocabulary().size() > vocab_size) {
    return Error{
        fmt::format("The grammar is for a vocabulary of {} tokens, but the model's has {}.",
                    request.grammar->vocabulary().size(), vocab_size)};
  }
  return {};
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

LiveRequest MakeOne(Request request, Engine::Fork fork, int32_t longest, const ModelInfo& model,
                    Speculation default_speculation, TimePoint now) {
  const auto prompt_tokens = static_cast<int32_t>(request.prompt.size());
  LiveRequest live{
      .id = {},
      .tokens = std::move(request.prompt),
      .stop_tokens = std::move(request.stop_tokens),
      .max_length = prompt_tokens + std::min(request.max_tokens, longest - prompt_tokens),
      .sampler = Sampler(std::move(fork.sampling), model.vocab_size),
      .matcher = request.grammar ? std::optional(OutputMatcher(request.grammar)) : std::nullopt,
      .sink = std::move(fork.sink),
      .forks = {},
      .prefix_cache = request.prefix_cache && !request.score_prompt,
      .cache_space = SpaceOfBlocks(
          request.adapter ? &model.adapters[static_cast<size_t>(request.adapter->value)] : nullptr,
          request.cache_space),
      .adapter = request.adapter,
      .pin = request.pin,
      .terms = {.client = std::move(request.client),
                .priority = request.priority,
                .deadline =
                    request.time_limit ? std::optional(now + *request.time_limit) : std::nullopt,
                .max_chunk = request.score_prompt ? kScoredChunk : 0},
      .speculate = request.speculate.value_or(default_speculation),
      .explain = request.explain,
      .score_prompt = request.score_prompt,
      .prompt_scores = {},
      .arrival = now,
      .first_scheduled = {},
      .first_token = {},
      .timings = {}};
  live.sampler.ObservePrompt(live.tokens);
  live.timings.prompt_tokens = prompt_tokens;
  return live;
}

// The first of the forks; the others are its own.
LiveRequest MakeLive(Request&& request, std::vector<Engine::Fork>&& forks, int32_t longest,
                     const ModelInfo& model, Speculation default_speculation, TimePoint now) {
  const auto one = [&](Engine::Fork& fork) {
    return MakeOne(request, std::move(fork), longest, model, default_speculation, now);
  };
  LiveRequest first = one(forks[0]);
  first.queued_tokens = first.timings.prompt_tokens;
  for (size_t i = 1; i < forks.size(); ++i) {
    first.forks.push_back(one(forks[i]));
  }
  return first;
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
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "unknown";
}

Status Validate(const EngineConfig& config) {
  RETURN_IF_ERROR(Validate(config.scheduler));
  RETURN_IF_ERROR(Validate(config.speculation));
  if (config.scheduler.layout == KvLayout::kContiguous && config.prefix_cache) {
    return Error{
        "Contiguous KV memory cannot be shared, so it has no prefix cache: turn the cache off, or "
        "choose paged KV memory."};
  }
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
               std::unique_ptr<DiskTier> disk, std::optional<KvStore> swap,
               std::unique_ptr<DraftModel> draft)
    : state_(std::make_unique<State>(config, std::move(model), std::move(kv), std::move(clock),
                                     std::move(disk), std::move(swap), std::move(draft))) {}

Engine::~Engine() {
  Stop();
  Step();
  state_->SaveToDisk();
}

Result<RequestId> Engine::Submit(Request request, EventSink sink) {
  std::vector<Fork> one;
  one.push_back({request.sampling, std::move(sink)});
  ASSIGN_OR_RETURN(const std::vector<RequestId> ids,
                   SubmitForks(std::move(request), std::move(one)));
  return ids[0];
}

Result<std::vector<RequestId>> Engine::SubmitForks(Request request, std::vector<Fork> forks) {
  CHECK(!forks.empty());
  State& s = *state_;
  const ModelInfo& model = s.model->info();
  RETURN_IF_ERROR(CheckRequest(request, forks, model));
  if (request.speculate == Speculation::kDraft && s.speculator.active() &&
      !s.speculator.has_draft_model()) {
    return Error{
        "Speculation 'draft' needs a draft model, and this server has none: choose auto, "
        "off, lookup or suffix."};
  }
  RETURN_IF_ERROR(CheckLength(request.prompt.size(), s.config.context_length, s.longest));
  LiveRequest live = MakeLive(std::move(request), std::move(forks), s.longest, model,
                              s.config.speculation.mode, s.clock.Now());
  const int32_t prompt_tokens = live.timings.prompt_tokens;
  const int32_t answers = State::CountWithForks(live);

  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(s.mutex);
    RETURN_IF_ERROR(s.CheckRoom(prompt_tokens, answers));
    ids.push_back(live.id = RequestId(s.next_id++));
    for (LiveRequest& fork : live.forks) ids.push_back(fork.id = RequestId(s.next_id++));
    s.queued_requests += answers;
    s.queued_tokens += prompt_tokens;
    s.inbox.push_back(std::move(live));
  }
  s.wake.notify_one();
  return ids;
}

Status Engine::CheckRoom() const {
  const std::lock_guard lock(state_->mutex);
  return state_->CheckRoom(1, 1);
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
  s.EndOverdue();
  s.RestoreFromDisk();
  TimePoint begun = s.clock.Now();
  StepPlan plan = s.PlanStep();
  if (!plan.slices.empty()) {
    begun += s.Swap(plan);  // what it takes is not what the rows take
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
    s.progress.step_time += ended - begun;
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
      s.wake.wait(lock, [&s] {
        return s.stop || !s.inbox.empty() || !s.cancellations.empty() || !s.inspections.empty();
      });
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

bool Engine::Inspect(std::function<void(const State&)> look) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stop) return false;
    state_->inspections.push_back(std::move(look));
  }
  state_->wake.notify_one();
  return true;
}

void Engine::InspectKv(std::function<void(const KvMap&)> look, KvLook what) {
  const bool will = Inspect([look, what](const State& state) { look(state.MapOfKv(what)); });
  if (!will) look(KvMap{});
}

void Engine::InspectPrefixes(size_t most, std::function<void(const PrefixPicture&)> look) {
  const bool will =
      Inspect([look, most](const State& state) { look(state.PictureOfPrefixes(most)); });
  if (!will) look(PrefixPicture{});
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
