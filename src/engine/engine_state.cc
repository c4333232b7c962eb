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

}  // namespace

Engine::State::State(const EngineConfig& engine_config, std::unique_ptr<Model> engine_model,
                     KvStore engine_kv, Clock engine_clock, std::unique_ptr<DiskTier> disk_tier,
                     std::optional<KvStore> swap_memory, std::unique_ptr<DraftModel> draft_model)
    : config(Limited(engine_config, engine_model->info())),
      model(std::move(engine_model)),
      kv(std::move(engine_kv)),
      clock(std::move(engine_clock)),
      pool(kv.blocks()),
      tree(config.prefix_cache ? std::make_optional<PrefixTree>(pool, TreeConfig(pool))
                               : std::nullopt),
      disk(std::move(disk_tier)),
      swap(std::move(swap_memory)),
      swap_pool(swap ? std::make_optional<BlockPool>(swap->blocks()) : std::nullopt),
      scheduler(config.scheduler, pool, tree ? &*tree : nullptr, swap_pool ? &*swap_pool : nullptr),
      speculator(config.speculation, model->info().vocab_size, std::move(draft_model)),
      timeline(config.timeline_steps) {
  const int64_t memory = int64_t{kv.blocks()} * kBlockTokens;
  const KvShape& wanted = model->info().kv_shape;
  CHECK(kv.shape().layers == wanted.layers && kv.shape().kv_heads == wanted.kv_heads &&
        kv.shape().head_dim == wanted.head_dim);
  longest = static_cast<int32_t>(std::min<int64_t>(config.context_length, memory));
  progress.blocks_total = pool.capacity();
  progress.kv_bytes = kv.bytes() + speculator.draft_kv_bytes();
  progress.kv_huge_pages = kv.memory().huge_pages();
  if (disk && tree) StartDisk();
  if (swap) StartSwap();
  StartSpeculation();
  published = progress;
}

std::optional<std::string> Engine::State::Call(const EventSink& sink, const Event& event) {
  try {
    if (sink) sink(event);
    return std::nullopt;
  } catch (const std::exception& exception) {
    return std::string("The consumer of the tokens failed: ") + exception.what();
  } catch (...) {
    return "The consumer of the tokens failed.";
  }
}

void Engine::State::AdmitInbox() {
  std::vector<LiveRequest> arrivals;
  std::vector<Cancellation> leaving;
  std::vector<std::function<void(const State&)>> looks;
  bool stopping = false;
  {
    const std::lock_guard lock(mutex);
    stopping = stop;  // read with the inbox: nothing enters it once `stop` is set
    arrivals.swap(inbox);
    leaving.swap(cancellations);
    looks.swap(inspections);
  }
  for (LiveRequest& arrival : arrivals) {
    Begin(std::move(arrival));
  }
  for (const Cancellation& cancellation : leaving) {
    if (live.contains(cancellation.request)) {
      End(cancellation.request, cancellation.reason);
    } else {
      EndFork(cancellation.request, cancellation.reason);
    }
  }
  if (stopping) EndAll();
  for (const auto& look : looks) look(*this);
}

PrefixPicture Engine::State::PictureOfPrefixes(size_t most) const {
  return tree ? tree->Picture(most) : PrefixPicture{};
}

KvMap Engine::State::MapOfKv(KvLook look) const {
  KvMap map;
  map.layout = config.scheduler.layout;
  map.blocks.resize(static_cast<size_t>(pool.capacity()));
  for (int32_t i = 0; i < pool.capacity(); ++i) {
    map.blocks[static_cast<size_t>(i)].holders = pool.holders(BlockId(i));
  }
  map.reserved_bytes = kv.bytes();
  if (look == KvLook::kBlocks) {
    // Asking the system takes about a millisecond.
  } else if (const auto residence = kv.memory().residence()) {
    map.resident_bytes = residence->resident_bytes;
    map.huge_page_bytes = residence->huge_bytes;
  }
  if (tree) tree->Mark(map);
  scheduler.Mark(map);
  return map;
}

void Engine::State::EndOverdue() {
  const TimePoint now = clock.Now();
  for (const RequestId id : scheduler.Overdue(now)) {
    const LiveRequest& request = live.at(id);
    const auto passed = [&](TimePoint end) { return Milliseconds(end - request.arrival); };
    std::string message =
        fmt::format("The deadline of {:.0f} ms ", passed(*request.terms.deadline));
    if (*request.terms.deadline > now) {
      message += fmt::format("cannot be met any more after {:.0f} ms in the queue", passed(now));
    } else {
      message +=
          fmt::format("passed when {} tokens had been generated", request.timings.output_tokens);
    }
    ++progress.expired;
    End(id, FinishReason::kDeadline, message + ": allow more time or try when less is asked.");
  }
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
         .logit_rows = LogitRows(live.at(slice.request), slice),
         .adapter = live.at(slice.request).adapter});
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
  CommitForks();
  for (const Outcome& outcome : outcomes) {
    const auto given = static_cast<int32_t>(outcome.tokens.size());
    if (given > 0 && outcome.request->timings.output_tokens == given) ApplyPin(*outcome.request);
    if (outcome.finish) scheduler.Remove(outcome.request->id);
  }
  ++progress.steps;
  const KvUsage usage = scheduler.usage();
  KvOverSteps& sums = progress.kv_over_steps;
  ++sums.steps;
  sums.held += int64_t{pool.held() - pool.reclaimable()} * kBlockTokens;
  sums.unused += usage.unused_slots;
  sums.unusable += int64_t{usage.unusable_blocks} * kBlockTokens;
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
    const LiveRequest& request = *outcome.request;
    const auto given = static_cast<int32_t>(event.tokens.size());
    if (given > 0 && request.timings.output_tokens == given) event.prompt = request.prompt_scores;
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
  progress.kv = scheduler.usage();
  if (tree) {
    progress.blocks_pinned = tree->stats().pinned;
    progress.prefix_evictions = tree->stats().evicted;
  }
  if (disk) progress.disk = disk->stats();
  progress.model = model->statistics();
  progress.step_cost = scheduler.cost();
  if (swap_pool) progress.swap_blocks_held = swap_pool->held();
  const std::lock_guard lock(mutex);
  queued_requests -= std::exchange(dequeued_requests, 0);
  queued_tokens -= std::exchange(dequeued_tokens, 0);
  // Those that were never scheduled are counted by queued_requests at all times, so that stats()
  // never misses one on its way from the inbox to the scheduler.
  int32_t new_in_scheduler = queued_requests;
  for (const LiveRequest& request : inbox) new_in_scheduler -= CountWithForks(request);
  for (const auto& [id, request] : live) new_in_scheduler -= CountWithForks(request) - 1;
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
  Promote(node->second);
  live.erase(node);
  ++progress.finished;
}

void Engine::State::EndAll() {
  while (!live.empty()) End(live.begin()->first, FinishReason::kCancelled);
}

Status Engine::State::CheckRoom(int32_t prompt_tokens, int32_t answers) const {
  if (draining || stop) {
    return Error{"The server is shutting down and takes no new requests.", ErrorKind::kExhausted};
  }
  // The bound on tokens is on what already waits, so that a long prompt is not refused for ever.
  if (queued_requests + answers > config.max_queued_requests ||
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
  dequeued_tokens += request.queued_tokens;
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
