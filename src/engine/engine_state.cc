#include "engine/engine_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

EngineConfig Limited(EngineConfig config, const ModelInfo& info) {
  CHECK(Validate(config).ok());
  if (info.context_length > 0) {
    config.context_length = std::min(config.context_length, info.context_length);
  }
  const SpeculationConfig& speculation = config.speculation;
  config.scheduler.max_draft = speculation.mode == Speculation::kOff ? 0 : speculation.max_draft;
  return config;
}

PrefixTreeConfig TreeConfig(const BlockPool& pool) { return {.max_pinned = pool.capacity() / 2}; }

// The message of what the sink threw; nothing where it did not.
std::optional<std::string> Call(const EventSink& sink, const Event& event) {
  try {
    if (sink) sink(event);
    return std::nullopt;
  } catch (const std::exception& exception) {
    return std::string("The consumer of the tokens failed: ") + exception.what();
  } catch (...) {
    return "The consumer of the tokens failed.";
  }
}

}  // namespace

Engine::State::State(const EngineConfig& engine_config, std::unique_ptr<Model> engine_model,
                     KvStore engine_kv, Clock engine_clock, std::unique_ptr<DiskTier> disk_tier,
                     std::unique_ptr<DraftModel> draft_model)
    : config(Limited(engine_config, engine_model->info())),
      model(std::move(engine_model)),
      kv(std::move(engine_kv)),
      clock(std::move(engine_clock)),
      pool(kv.blocks()),
      tree(config.prefix_cache ? std::make_optional<PrefixTree>(pool, TreeConfig(pool))
                               : std::nullopt),
      disk(std::move(disk_tier)),
      scheduler(config.scheduler, pool, tree ? &*tree : nullptr),
      speculator(config.speculation, model->info().vocab_size, std::move(draft_model)),
      timeline(config.timeline_steps) {
  const int64_t memory = int64_t{kv.blocks()} * kBlockTokens;
  const KvShape& wanted = model->info().kv_shape;
  CHECK(kv.shape().layers == wanted.layers && kv.shape().kv_heads == wanted.kv_heads &&
        kv.shape().head_dim == wanted.head_dim);
  longest = static_cast<int32_t>(std::min<int64_t>(config.context_length, memory));
  progress.blocks_total = pool.capacity();
  if (disk && tree) StartDisk();
  StartSpeculation();
  published = progress;
}

void Engine::State::AdmitInbox() {
  std::vector<LiveRequest> arrivals;
  std::vector<Cancellation> leaving;
  bool stopping = false;
  {
    const std::lock_guard lock(mutex);
    stopping = stop;  // read with the inbox: nothing enters it once `stop` is set
    arrivals.swap(inbox);
    leaving.swap(cancellations);
  }
  for (LiveRequest& arrival : arrivals) {
    const RequestId id = arrival.id;
    const LiveRequest& request = live.emplace(id, std::move(arrival)).first->second;
    std::optional<PrefixUse> use;
    if (request.prefix_cache) use = PrefixUse{request.cache_space, &request.tokens};
    scheduler.Add(id, request.timings.prompt_tokens, request.max_length, std::move(use));
  }
  for (const Cancellation& cancellation : leaving) {
    if (live.contains(cancellation.request)) End(cancellation.request, cancellation.reason);
  }
  if (stopping) EndAll();
}

StepPlan Engine::State::PlanStep() {
  StepPlan plan = scheduler.PlanStep();
  CHECK(plan.slices.empty() == live.empty());
  for (RequestId id : plan.preempted) {
    LiveRequest& request = live.at(id);
    ++request.timings.preemptions;
    request.lost = std::max(request.lost, std::exchange(request.reached, 0));
    request.preempted = true;
  }
  progress.preemptions += static_cast<int64_t>(plan.preempted.size());
  for (const Admission& admission : plan.admitted) {
    LiveRequest& request = live.at(admission.request);
    if (request.first_scheduled || !request.prefix_cache || !tree) continue;
    request.timings.cached_tokens = admission.cached;
    progress.prefix_queries += request.timings.prompt_tokens;
    progress.prefix_hits += admission.cached;
  }
  const TimePoint now = clock.Now();
  for (const Slice& slice : plan.slices) {
    LiveRequest& request = live.at(slice.request);
    if (!request.first_scheduled) {
      pace.Begun(request.arrival, now, request.timings.prompt_tokens);
      LeaveQueue(request, now);
    }
    CountRows(request, slice);
    progress.tokens_computed += slice.count;
  }
  return plan;
}

void Engine::State::CountRows(LiveRequest& request, const Slice& slice) {
  request.last_step = progress.steps;
  request.preempted = false;
  request.timings.computed_tokens += slice.count;
  const int32_t end = slice.first + slice.count;
  request.timings.recomputed_tokens += std::max(0, std::min(end, request.lost) - slice.first);
  request.reached = std::min(end, static_cast<int32_t>(request.tokens.size()));
}

void Engine::State::MakeBatch(const StepPlan& plan) {
  for (const BlockCopy& copy : plan.copies) kv.CopyBlock(copy.from, copy.to);
  batch.sequences.clear();
  for (const Slice& slice : plan.slices) {
    const std::span<const TokenId> tokens = live.at(slice.request).tokens;
    const int32_t rows = slice.count + slice.drafted;
    batch.sequences.push_back(
        {.tokens = tokens.subspan(static_cast<size_t>(slice.first), static_cast<size_t>(rows)),
         .first_position = slice.first,
         .block_table = scheduler.BlockTable(slice.request),
         .logit_rows = slice.samples ? 1 + slice.drafted : 0});
  }
}

void Engine::State::Commit(const StepPlan& plan) {
  // What a failed step computed is nothing to share.
  for (const Outcome& outcome : outcomes) {
    if (outcome.finish == FinishReason::kError) {
      scheduler.Remove(outcome.request->id, Scheduler::Afterwards::kForget);
    }
  }
  scheduler.Commit(plan, appended);
  for (const Outcome& outcome : outcomes) {
    const auto given = static_cast<int32_t>(outcome.tokens.size());
    if (given > 0 && outcome.request->timings.output_tokens == given) ApplyPin(*outcome.request);
    if (outcome.finish) scheduler.Remove(outcome.request->id);
  }
  ++progress.steps;
}

void Engine::State::ApplyPin(LiveRequest& request) {
  if (!tree || !request.prefix_cache) return;
  const auto prompt =
      std::span(request.tokens).first(static_cast<size_t>(request.timings.prompt_tokens));
  if (request.pin == PinAction::kPin) tree->Pin(request.cache_space, prompt);
  if (request.pin == PinAction::kUnpin) tree->Unpin(request.cache_space, prompt);
}

void Engine::State::Emit() {
  for (Outcome& outcome : outcomes) {
    Event event{.request = outcome.request->id,
                .tokens = std::move(outcome.tokens),
                .draft = std::move(outcome.draft),
                .finish = {}};
    if (outcome.finish) {
      event.finish = FinishInfoOf(*outcome.request, *outcome.finish, std::move(outcome.message));
    }
    const std::optional<std::string> failure = Call(outcome.request->sink, event);
    if (outcome.finish) {
      Forget(*outcome.request);
      live.erase(event.request);
      ++progress.finished;
    } else if (failure) {
      End(event.request, FinishReason::kCancelled, *failure);
    }
  }
}

bool Engine::State::PublishStats() {
  progress.running = scheduler.running();
  progress.speculation = speculator.stats();
  progress.blocks_cached = pool.reclaimable();
  progress.blocks_held = pool.held() - pool.reclaimable();
  if (tree) {
    progress.blocks_pinned = tree->stats().pinned;
    progress.prefix_evictions = tree->stats().evicted;
  }
  if (disk) progress.disk = disk->stats();
  const std::lock_guard lock(mutex);
  queued_requests -= std::exchange(dequeued_requests, 0);
  queued_tokens -= std::exchange(dequeued_tokens, 0);
  // Those that were never scheduled are counted by queued_requests at all times, so that stats()
  // never misses one on its way from the inbox to the scheduler.
  const int32_t new_in_scheduler = queued_requests - static_cast<int32_t>(inbox.size());
  progress.waiting = scheduler.waiting() - new_in_scheduler;
  published = progress;
  published_pace = pace;
  return !live.empty() || !inbox.empty();
}

void Engine::State::End(RequestId id, FinishReason reason, std::string message) {
  const auto node = live.find(id);
  CHECK(node != live.end());
  scheduler.Remove(id);
  const FinishInfo finish = FinishInfoOf(node->second, reason, std::move(message));
  if (!node->second.first_scheduled) LeaveQueue(node->second, clock.Now());
  (void)Call(node->second.sink, Event{.request = id, .tokens = {}, .draft = {}, .finish = finish});
  Forget(node->second);
  live.erase(node);
  ++progress.finished;
}

void Engine::State::EndAll() {
  while (!live.empty()) End(live.begin()->first, FinishReason::kCancelled);
}

Status Engine::State::CheckRoom(int32_t prompt_tokens) const {
  if (draining || stop) {
    return Error{"The server is shutting down and takes no new requests.", ErrorKind::kExhausted};
  }
  // The bound on tokens is on what already waits, so that a long prompt is not refused for ever.
  if (queued_requests >= config.max_queued_requests ||
      (queued_requests > 0 && queued_tokens + prompt_tokens > config.max_queued_tokens)) {
    return Error{fmt::format("The server's queue is full ({} requests with {} prompt tokens are "
                             "waiting): try again later.",
                             queued_requests, queued_tokens),
                 ErrorKind::kExhausted};
  }
  return {};
}

void Engine::State::LeaveQueue(LiveRequest& request, TimePoint now) {
  request.first_scheduled = now;
  ++dequeued_requests;
  dequeued_tokens += request.timings.prompt_tokens;
}

// The time now is the end of the phase that the request is in; the phases it never reached take
// none.
FinishInfo Engine::State::FinishInfoOf(const LiveRequest& request, FinishReason reason,
                                       std::string message) const {
  const TimePoint finish = clock.Now();
  const TimePoint scheduled = request.first_scheduled.value_or(finish);
  const TimePoint first_token = request.first_token.value_or(finish);
  RequestTimings timings = request.timings;
  timings.queued = scheduled - request.arrival;
  timings.prefill = first_token - scheduled;
  timings.decode = finish - first_token;
  timings.prefill_row = scheduler.cost().PrefillRow().value_or(Duration(0));
  return {.reason = reason, .message = std::move(message), .timings = timings};
}

}  // namespace millrace
