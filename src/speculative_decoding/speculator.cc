#include "speculative_decoding/speculator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "speculative_decoding/lookup_drafter.h"
#include "speculative_decoding/suffix_drafter.h"

namespace millrace {

Speculator::Speculator(const SpeculationConfig& config, int32_t vocab_size,
                       std::unique_ptr<DraftModel> draft)
    : config_(config) {
  CHECK(Validate(config).ok());
  if (!active()) return;
  cheap_ = {std::make_unique<LookupDrafter>(), std::make_unique<SuffixDrafter>()};
  if (draft) model_ = std::make_unique<ModelDrafter>(std::move(*draft), vocab_size);
}

Speculator::~Speculator() = default;

void Speculator::CopyBlock(BlockId from, BlockId to) {
  if (model_) model_->CopyBlock(from, to);
}

// Truncates what was proposed to what there is room for, and asks the draft model.
void Speculator::Draft(std::span<SpeculationSlot> slots) {
  for (size_t i = 0; i < slots.size(); ++i) {
    DraftTask& task = slots[i].task;
    task.draft.clear();
    if (task.wanted == 0 || slots[i].drafter == DrafterKind::kModel) continue;
    for (const Proposal& proposal : looks_[i].proposals) {
      if (proposal.kind != slots[i].drafter) continue;
      const auto count = std::min(proposal.tokens.size(), static_cast<size_t>(task.wanted));
      task.draft.assign(proposal.tokens.begin(),
                        proposal.tokens.begin() + static_cast<std::ptrdiff_t>(count));
    }
  }
  if (model_) RunModel(slots);
  drafted_ = std::any_of(slots.begin(), slots.end(),
                         [](const SpeculationSlot& slot) { return !slot.task.draft.empty(); });
}

void Speculator::RunModel(std::span<SpeculationSlot> slots) {
  std::vector<DraftTask*> reading, drafting;
  std::vector<Look*> probes;
  for (size_t i = 0; i < slots.size(); ++i) {
    DraftTask& task = slots[i].task;
    if (task.wanted > 0 && slots[i].drafter == DrafterKind::kModel) {
      drafting.push_back(&task);  // reads first
    } else if (looks_[i].reads) {
      reading.push_back(&task);
    }
  }
  if (!reading.empty()) model_->ReadOn(reading);
  if (!drafting.empty()) model_->Draft(drafting);
  for (size_t i = 0; i < slots.size(); ++i) {
    DraftTask& task = slots[i].task;
    const bool drafts = slots[i].drafter == DrafterKind::kModel && !task.draft.empty();
    if (drafts) looks_[i].proposals.push_back({DrafterKind::kModel, task.confidence, task.draft});
    if (!looks_[i].probes) continue;
    DraftTask probe = task;
    probe.wanted = 1;
    DraftTask* one[] = {&probe};
    model_->Draft(one);
    if (probe.draft.empty()) continue;
    looks_[i].proposals.push_back({DrafterKind::kModel, probe.confidence, probe.draft});
  }
}

void Speculator::Verified(const SpeculationSlot& slot, std::span<const Sampled> tokens,
                          int32_t accepted) {
  const auto drafted = static_cast<int32_t>(slot.task.draft.size());
  if (drafted > 0) {
    const auto kind = static_cast<size_t>(slot.drafter);
    stats_.drafted[kind] += drafted;
    stats_.accepted[kind] += accepted;
    for (int32_t i = 0; i < drafted; ++i) ++stats_.drafted_at[static_cast<size_t>(i)];
    for (int32_t i = 0; i < accepted; ++i) ++stats_.accepted_at[static_cast<size_t>(i)];
    ++stats_.verifications;
    stats_.verified_tokens += static_cast<int64_t>(tokens.size());
  }
  const auto look = std::find_if(looks_.begin(), looks_.end(), [&](const Look& l) {
    return l.state != nullptr && l.request == slot.task.request;
  });
  if (look == looks_.end()) return;
  look->tokens = static_cast<int32_t>(tokens.size());
  for (const Proposal& proposal : look->proposals) {
    const size_t comparable = std::min(proposal.tokens.size(), tokens.size());
    size_t right = 0;
    while (right < comparable && proposal.tokens[right] == tokens[right].token) ++right;
    acceptance_.Observe(look->state->acceptance, proposal.kind, proposal.confidence,
                        static_cast<int32_t>(comparable), static_cast<int32_t>(right));
  }
}

void Speculator::Observe(std::span<const SpeculationSlot> slots, Duration drafting,
                         Duration verifying) {
  if (shape_.rows == 0) return;
  const double draft_seconds = Seconds(drafting), step_seconds = Seconds(verifying);
  StepShape shape = shape_;
  int32_t drafted = 0;
  for (const SpeculationSlot& slot : slots) {
    const auto length = static_cast<int32_t>(slot.task.draft.size());
    drafted += length;
    shape.further_depth += int64_t{length} * slot.position;
  }
  shape.rows += drafted;
  const double plain = StepSeconds(0);
  ObservePrice(shape, drafted, step_seconds);
  ObserveDrafting(drafted, draft_seconds);
  look_budget_ = std::min(look_budget_ + kLookShare * step_seconds, kMostToLook);
  probe_budget_ = std::min(probe_budget_ + kProbeShare * step_seconds, 1.0);
  if (drafted > 0) {
    stats_.drafting += drafting;
    stats_.verifying += verifying;
  }
  for (Look& look : looks_) {
    if (look.state == nullptr || plain <= 0) continue;
    look.state->plain += plain * look.tokens;
    double saved = -draft_seconds;
    // A plain step is what it is: only what drafts change counts.
    if (drafted > 0) saved += plain * look.tokens - step_seconds;
    look.state->saved += saved;
    stats_.saved += Duration(static_cast<int64_t>(saved * 1e9));
  }
}

void Speculator::ObservePrice(const StepShape& shape, int32_t drafted, double seconds) {
  const int32_t before = std::exchange(drafted_steps_, drafted > 0 ? drafted_steps_ + 1 : 0);
  if (prefill_rows_ > 0) return;
  if (drafted > 0) return times_.Observe(shape, seconds);
  // A plain step between drafted ones stands for many.
  constexpr double kTrust = 3, kAsExpected = 0.1;
  const bool was_due = before >= drafted_per_plain_;
  if (was_due && times_.known()) {
    const bool as_expected = std::abs(seconds / times_.Of(shape) - 1) < kAsExpected;
    drafted_per_plain_ = as_expected ? std::min(2 * drafted_per_plain_, kMostDraftedPerPlain)
                                     : std::max(drafted_per_plain_ / 2, kLeastDraftedPerPlain);
  }
  times_.Observe(shape, seconds, was_due ? kTrust : 1.0);
}

void Speculator::ObserveDrafting(int32_t drafted, double seconds) {
  constexpr double kRate = 0.1;
  if (model_seconds_ == 0) {
    if (looked_ && drafted == 0) look_budget_ -= seconds;
    return;
  }
  if (seconds <= 0) return;
  const bool reads = std::any_of(looks_.begin(), looks_.end(),
                                 [](const Look& look) { return look.reads || look.probes; });
  const double ratio = seconds / model_seconds_;
  if (reads || model_tokens_ == 0 || (ratio < 1 && draft_overhead_ == 0)) {
    return draft_times_.Scale(ratio);
  }
  // Its forward passes are what they are; the rest is choosing tokens and keeping books.
  const double rest = (seconds - model_seconds_) / model_tokens_ + draft_overhead_;
  draft_overhead_ += kRate * (std::max(rest, 0.0) - draft_overhead_);
}

void Speculator::Finish(RequestId request, std::string_view space, std::span<const TokenId> tokens,
                        int32_t prompt_tokens) {
  if (!active()) return;
  for (const auto& drafter : cheap_) drafter->Finish(request, space, tokens, prompt_tokens);
  if (model_) model_->Finish(request, space, tokens, prompt_tokens);
  requests_.erase(request);
}

Duration Speculator::SavedFor(RequestId request) const {
  const auto state = requests_.find(request);
  if (state == requests_.end()) return Duration(0);
  return Duration(static_cast<int64_t>(state->second.saved * 1e9));
}

}  // namespace millrace
