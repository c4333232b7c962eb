// What the speculator decides before a step.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "speculative_decoding/speculator.h"

namespace millrace {
namespace {

// A request whose looks led to no draft is looked at every so many steps: a bound on what drafters
// that are never used cost.
constexpr int32_t kIdleLooks = 12;
constexpr int64_t kIdleEvery = 4;
// How often it is checked anew whether drafts could pay at all, in steps.
constexpr int64_t kCheckEvery = 16;
// Tokens that a request is assumed to go on for, when the draft model has to read it first.
constexpr int32_t kHorizon = 16;
constexpr double kLeastGain = 1.03;

bool Allowed(Speculation mode, DrafterKind kind) {
  switch (mode) {
    case Speculation::kOff:
      return false;
    case Speculation::kAuto:
      return true;
    case Speculation::kLookup:
      return kind == DrafterKind::kLookup;
    case Speculation::kSuffix:
      return kind == DrafterKind::kSuffix;
    case Speculation::kDraft:
      return kind == DrafterKind::kModel;
  }
  return false;
}

}  // namespace

bool Speculator::Allows(const SpeculationSlot& slot, DrafterKind kind) const {
  return slot.room > 0 && Allowed(slot.mode, kind) && (kind != DrafterKind::kModel || model_);
}

int64_t Speculator::MeanDepth() const { return shape_.rows > 0 ? shape_.depth / shape_.rows : 0; }

double Speculator::StepSeconds(int32_t drafted) const {
  StepShape shape = shape_;
  shape.rows += drafted;
  shape.further_depth = drafted * MeanDepth();
  return times_.Of(shape) + prefill_seconds_;
}

double Speculator::DraftStepSeconds(int32_t sequences, int32_t rows) const {
  const int64_t mean_depth = MeanDepth();
  return draft_times_.Of({.rows = rows,
                          .depth = mean_depth * sequences,
                          .further_depth = mean_depth * (rows - sequences)});
}

double Speculator::SlackOf(const RequestState& state) const {
  return state.saved + kTolerance * (state.plain + StepSeconds(0));
}

bool Speculator::Begin(int32_t sequences, int64_t depth, int32_t prefill_rows) {
  ++step_;
  model_seconds_ = 0;
  model_tokens_ = 0;
  looked_ = false;
  prefill_seconds_ = 0;
  prefill_rows_ = prefill_rows;
  shape_ = {.rows = sequences, .depth = depth};
  looks_.clear();
  if (!active() || sequences == 0) return false;
  if (config_.fixed_draft) return true;
  if (prefill_rows > 0 && times_.known()) {
    StepShape with = shape_;
    with.rows += prefill_rows;
    prefill_seconds_ = std::max(0.0, times_.Of(with) - times_.Of(shape_));
  }
  const bool plain_is_due = drafted_steps_ >= drafted_per_plain_;
  return times_.known() && !plain_is_due && look_budget_ >= 0 && CouldPay(sequences);
}

void Speculator::Plan(std::span<SpeculationSlot> slots) {
  looks_.resize(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    SpeculationSlot& slot = slots[i];
    slot.task.wanted = 0;
    slot.position = static_cast<int32_t>(slot.task.tokens.size());
    looks_[i].request = slot.task.request;
    looks_[i].state = &requests_[slot.task.request];
  }
  if (config_.fixed_draft) return PlanFixed(slots);
  looked_ = true;
  bool any = false;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].room == 0 || slots[i].mode == Speculation::kOff) continue;
    if (!ShouldLook(*looks_[i].state)) continue;
    AskCheapDrafters(slots[i], looks_[i]);
    ConsiderModel(slots[i], looks_[i], slots.size());
    any = any || !looks_[i].offers.empty();
  }
  if (any) Choose(slots);
  if (model_) PlanProbe(slots);
}

// Every allowed drafter in turn, so that a test goes through all of them.
void Speculator::PlanFixed(std::span<SpeculationSlot> slots) {
  for (size_t i = 0; i < slots.size(); ++i) {
    SpeculationSlot& slot = slots[i];
    AskCheapDrafters(slot, looks_[i]);
    for (size_t turn = 0; turn < kDrafterKinds; ++turn) {
      slot.drafter = static_cast<DrafterKind>((static_cast<size_t>(step_) + turn) % kDrafterKinds);
      if (Allows(slot, slot.drafter)) break;
    }
    if (!Allows(slot, slot.drafter)) continue;
    slot.task.wanted = std::min({*config_.fixed_draft, config_.max_draft, slot.room});
  }
}

bool Speculator::ShouldLook(const RequestState& state) const {
  return state.idle < kIdleLooks || step_ % kIdleEvery == 0;
}

// Whether drafts would pay if every proposal were right and cost nothing.
bool Speculator::CouldPay(int32_t sequences) {
  const size_t slot = std::min(static_cast<size_t>(sequences), pays_.size() - 1);
  if (pays_checked_[slot] > 0 && step_ < pays_checked_[slot] - 1 + kCheckEvery) return pays_[slot];
  pays_checked_[slot] = step_ + 1;
  const double plain = StepSeconds(0), tokens = sequences;
  pays_[slot] = false;
  const int32_t most = sequences * config_.max_draft;
  for (int32_t drafted = 1; drafted <= most && !pays_[slot]; ++drafted) {
    pays_[slot] = (tokens + drafted) * plain > kLeastGain * tokens * StepSeconds(drafted);
  }
  return pays_[slot];
}

// What the request's grammar forbids would be verified for nothing.
void Speculator::CutToAllowed(DraftTask& task) {
  if (task.matcher == nullptr) return;
  OutputMatcher matcher = *task.matcher;
  size_t allowed = 0;
  while (allowed < task.draft.size() && matcher.Take(task.draft[allowed])) ++allowed;
  task.draft.resize(allowed);
}

void Speculator::AskCheapDrafters(SpeculationSlot& slot, Look& look) {
  for (const auto& drafter : cheap_) {
    const DrafterKind kind = drafter->kind();
    if (!Allows(slot, kind)) continue;
    DraftTask task = slot.task;
    task.wanted = std::min(slot.room, config_.max_draft);
    DraftTask* one[] = {&task};
    drafter->Draft(one);
    CutToAllowed(task);
    if (task.draft.empty()) continue;
    AddOffer(look, kind, task.confidence, static_cast<int32_t>(task.draft.size()));
    look.proposals.push_back({kind, task.confidence, std::move(task.draft)});
  }
}

void Speculator::AddOffer(Look& look, DrafterKind kind, int32_t confidence, int32_t length) {
  DraftOffer offer{.kind = kind, .length = length};
  double chance = 1.0;
  for (int32_t place = 0; place < length; ++place) {
    chance *= acceptance_.Of(look.state->acceptance, kind, confidence, place);
    offer.chance[static_cast<size_t>(place)] = chance;
  }
  look.offers.push_back(offer);
}

// Offers the draft model's tokens where it has read the sequence; has it read on where what the
// tokens to come would gain is worth it.
void Speculator::ConsiderModel(SpeculationSlot& slot, Look& look, size_t sequences) {
  if (!Allows(slot, DrafterKind::kModel) || !draft_times_.known()) return;
  const int32_t left = model_->context_length() - slot.position;
  const int32_t length = std::min({slot.room, config_.max_draft, left});
  if (length < 1) return;
  AddOffer(look, DrafterKind::kModel, 0, length);
  constexpr int32_t kReadWhileDrafting = kMaxDraft + 2;
  const int32_t unread = model_->Unread(slot.task);
  if (unread <= kReadWhileDrafting) return;
  const DraftOffer offer = look.offers.back();
  const int32_t now = std::min(unread, ModelDrafter::kReadRows);
  if (!IsWorthReading(slot, offer, unread, sequences)) {
    look.offers.pop_back();
    return;
  }
  look.reads = true;
  model_seconds_ += DraftStepSeconds(1, now);
  if (now < unread) look.offers.pop_back();  // nothing to go on from yet
}

// Whether what the draft model's tokens to come would gain pays for reading what it has not read,
// and nobody who waits for it loses more than he may.
bool Speculator::IsWorthReading(const SpeculationSlot& slot, const DraftOffer& offer,
                                int32_t unread, size_t sequences) const {
  const double plain = StepSeconds(0), token = plain / static_cast<double>(sequences);
  const double share =
      DraftStepSeconds(static_cast<int32_t>(sequences), static_cast<int32_t>(sequences)) /
          static_cast<double>(sequences) +
      draft_overhead_;
  double most = 0, gained = 0, drafting = 0;  // `most`: seconds gained with each token
  for (int32_t n = 1; n <= offer.length; ++n) {
    gained += offer.chance[static_cast<size_t>(n - 1)];
    drafting += share;
    const double costs = StepSeconds(n) - plain + drafting;
    most = std::max(most, (gained * token - costs) / (1 + gained));
  }
  const double whole = DraftStepSeconds(1, unread);
  if (whole > most * std::min(slot.room_to_limit, kHorizon)) return false;
  const double now =
      model_seconds_ + DraftStepSeconds(1, std::min(unread, ModelDrafter::kReadRows));
  for (const Look& other : looks_) {
    if (other.request != slot.task.request && now > SlackOf(*other.state)) return false;
  }
  return prefill_rows_ == 0 || now <= kTolerance * plain;
}

void Speculator::Choose(std::span<SpeculationSlot> slots) {
  std::vector<SequenceOffer> sequences;
  std::vector<size_t> places;
  std::vector<double> others;
  for (size_t i = 0; i < slots.size(); ++i) {
    const double slack = SlackOf(*looks_[i].state);
    if (looks_[i].offers.empty()) {
      others.push_back(slack);
    } else {
      sequences.push_back({looks_[i].offers, slack});
      places.push_back(i);
    }
  }
  if (prefill_rows_ > 0) others.push_back(kTolerance * StepSeconds(0));
  const StepPrices prices = {
      .step = [this](int32_t drafted) { return StepSeconds(drafted) + model_seconds_; },
      .draft_step =
          [this](int32_t count) {
            return DraftStepSeconds(count, count) + count * draft_overhead_;
          },
      .least_gain = kLeastGain};
  const DraftDecision decision = ChooseDraftLengths(sequences, others, prices);
  std::array<int32_t, kMaxDraft> modelled{};
  for (size_t i = 0; i < places.size(); ++i) {
    const DraftChoice& choice = decision.choices[i];
    SpeculationSlot& slot = slots[places[i]];
    RequestState& state = *looks_[places[i]].state;
    state.idle = choice.length > 0 ? 0 : std::min(state.idle + 1, 1 << 20);
    slot.drafter = choice.kind;
    slot.task.wanted = choice.length;
    for (int32_t at = 0; choice.kind == DrafterKind::kModel && at < choice.length; ++at) {
      ++modelled[static_cast<size_t>(at)];
    }
  }
  for (const int32_t count : modelled) {
    if (count > 0) model_seconds_ += prices.draft_step(count);
    model_tokens_ += count;
  }
}

// One sequence for which the draft model was not chosen, where the budget allows: what it would
// have said.
void Speculator::PlanProbe(std::span<SpeculationSlot> slots) {
  if (slots.empty() || probe_budget_ <= 0) return;
  const size_t i = static_cast<size_t>(step_) % slots.size();
  const bool drafts = slots[i].task.wanted > 0 && slots[i].drafter == DrafterKind::kModel;
  if (drafts || looks_[i].reads || looks_[i].offers.empty()) return;
  if (!Allows(slots[i], DrafterKind::kModel) || !draft_times_.known()) return;
  const int32_t unread = std::min(model_->Unread(slots[i].task) + 1, ModelDrafter::kReadRows);
  const double price = DraftStepSeconds(1, unread);
  if (price > probe_budget_) return;
  probe_budget_ -= price;
  model_seconds_ += price;
  looks_[i].probes = true;
}

}  // namespace millrace
