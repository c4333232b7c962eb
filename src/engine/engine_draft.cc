// Speculation in the engine's step: drafts behind the last known tokens, and what stays of them.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/engine_state.h"

namespace millrace {

// Scratch for up to so many positions: times at that depth say what depth costs.
void Engine::State::StartSpeculation() {
  if (!speculator.active() || !config.speculation.measure_at_start) return;
  constexpr int32_t kDeepest = 1024;
  const auto scratch =
      pool.TryAcquire(std::min(BlocksFor(std::min(kDeepest, longest)), pool.available()));
  std::vector<BlockId> table;
  for (const BlockRef& block : *scratch) table.push_back(block.id());
  speculator.MeasureAtStart(*model, kv, table, clock);
}

// One slot per decoding sequence.
void Engine::State::MakeSlots(const StepPlan& plan) {
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Slice& slice = plan.slices[i];
    if (!slice.samples || slice.count > 1) continue;
    const LiveRequest& request = live.at(slice.request);
    const auto length = static_cast<int32_t>(request.tokens.size());
    // Forks begin where the prompt ends.
    const bool may_draft = request.speculate != Speculation::kOff && request.forks.empty();
    slots.push_back({.task = {.request = slice.request,
                              .tokens = request.tokens,
                              .space = request.cache_space,
                              .sampler = &request.sampler,
                              .matcher = request.matcher ? &*request.matcher : nullptr,
                              .block_table = scheduler.BlockTable(slice.request)},
                     .slice = i,
                     .room = may_draft ? slice.draft_room : 0,
                     .room_to_limit = request.max_length - length,
                     .mode = request.speculate});
  }
}

// Until Verify, a request's tokens end with its draft.
void Engine::State::Draft(StepPlan& plan) {
  slots.clear();
  if (!speculator.active()) return;
  draft_begun = clock.Now();
  for (const BlockCopy& copy : plan.copies) speculator.CopyBlock(copy.from, copy.to);
  int32_t sequences = 0, prefill_rows = 0;
  int64_t depth = 0;
  for (const Slice& slice : plan.slices) {
    const bool decodes = slice.samples && slice.count == 1;
    (decodes ? sequences : prefill_rows) += slice.count;
    if (decodes) depth += slice.first + 1;
  }
  if (speculator.Begin(sequences, depth, prefill_rows)) {
    MakeSlots(plan);
    MakeDrafts(plan);
  }
  draft_ended = clock.Now();
}

void Engine::State::MakeDrafts(StepPlan& plan) {
  speculator.Plan(slots);
  for (SpeculationSlot& slot : slots) {
    if (slot.task.wanted == 0) continue;
    slot.task.wanted = scheduler.ReserveDraft(plan.slices[slot.slice], slot.task.wanted);
    slot.task.block_table = scheduler.BlockTable(slot.task.request);
  }
  speculator.Draft(slots);
  for (const SpeculationSlot& slot : slots) {
    Slice& slice = plan.slices[slot.slice];
    slice.drafted = static_cast<int32_t>(slot.task.draft.size());
    LiveRequest& request = live.at(slice.request);
    request.tokens.insert(request.tokens.end(), slot.task.draft.begin(), slot.task.draft.end());
    request.timings.computed_tokens += slice.drafted;
    progress.tokens_computed += slice.drafted;
  }
}

// Tells the speculator and the requests what the step took.
void Engine::State::AccountForDrafts() {
  if (!speculator.active()) return;
  const Duration drafting = draft_ended - draft_begun, verifying = clock.Now() - draft_ended;
  speculator.Observe(slots, drafting, verifying);
  for (const SpeculationSlot& slot : slots) {
    live.at(slot.task.request).timings.speculation_saved = speculator.SavedFor(slot.task.request);
  }
  for (Outcome& outcome : outcomes) {
    if (!outcome.draft) continue;
    outcome.draft->drafting = drafting;
    outcome.draft->verifying = verifying;
  }
}

void Engine::State::Verify(const StepPlan& plan, MatrixView<const float> logits) {
  CHECK(logits.rows == 0 || logits.columns == model->info().vocab_size);
  const TimePoint now = clock.Now();
  outcomes.clear();
  births.clear();
  appended.assign(plan.slices.size(), 0);
  int64_t row = 0;
  auto slot = slots.begin();
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Slice& slice = plan.slices[i];
    LiveRequest& request = live.at(slice.request);
    const int32_t all_rows = LogitRows(request, slice);
    CHECK(row + all_rows <= logits.rows);
    if (WantsScores(request, slice)) ScorePrompt(request, slice, logits.Rows(row, all_rows));
    const int64_t rows = slice.samples ? 1 + slice.drafted : 0;
    row += all_rows - rows;
    if (!slice.samples) continue;
    while (slot != slots.end() && slot->slice < i) ++slot;
    const bool has_slot = slot != slots.end() && slot->slice == i;
    outcomes.push_back(
        VerifyOne(request, has_slot ? &*slot : nullptr, logits.Rows(row, rows), now));
    const auto given = static_cast<int32_t>(outcomes.back().tokens.size());
    appended[i] = std::max(1, given);
    if (!request.forks.empty()) BeginForks(request, logits.Rows(row, 1), now);
    row += rows;
  }
}

Engine::State::Outcome Engine::State::VerifyOne(LiveRequest& request, const SpeculationSlot* slot,
                                                MatrixView<const float> logits, TimePoint now) {
  const std::span<const TokenId> draft =
      slot != nullptr ? std::span<const TokenId>(slot->task.draft) : std::span<const TokenId>();
  request.tokens.resize(request.tokens.size() - draft.size());
  const auto length = static_cast<int32_t>(request.tokens.size());
  Verdict verdict =
      VerifyDraft(draft, logits, length, request.stop_tokens, request.max_length - length,
                  request.sampler, request.matcher ? &*request.matcher : nullptr);
  Outcome outcome{.request = &request, .tokens = {}, .draft = {}, .finish = {}, .message = {}};
  for (const Sampled& sampled : verdict.tokens) request.tokens.push_back(sampled.token);
  const auto given = static_cast<int32_t>(verdict.tokens.size());
  request.timings.output_tokens += given;
  progress.tokens_generated += given;
  if (!request.first_token && given > 0) request.first_token = now;
  if (slot != nullptr) {
    request.timings.drafted_tokens += static_cast<int32_t>(draft.size());
    request.timings.accepted_tokens += verdict.accepted;
    speculator.Verified(*slot, verdict.tokens, verdict.accepted);
    if (request.explain && !draft.empty()) {
      outcome.draft = DraftReport{.drafter = slot->drafter,
                                  .proposed = {draft.begin(), draft.end()},
                                  .accepted = verdict.accepted};
    }
  }
  outcome.tokens = std::move(verdict.tokens);
  switch (verdict.end) {
    case VerdictEnd::kGoesOn:
      break;
    case VerdictEnd::kStop:
      outcome.finish = FinishReason::kStop;
      break;
    case VerdictEnd::kLimit:
      outcome.finish = FinishReason::kLength;
      break;
    case VerdictEnd::kStuck:
      outcome.finish = FinishReason::kError;
      outcome.message = std::move(verdict.message);
      break;
    case VerdictEnd::kNan:
      outcome.finish = FinishReason::kError;
      outcome.message = fmt::format(
          "The model produced NaN at position {}: check the model file, or send another prompt.",
          request.tokens.size());
  }
  return outcome;
}

void Engine::State::Forget(const LiveRequest& request) {
  speculator.Finish(request.id, request.cache_space, request.tokens, request.timings.prompt_tokens);
}

}  // namespace millrace
