// Speculator: the controller. Which drafter proposes how many tokens for which sequence of a step,
// zero included, by what steps take and how often proposals are right, as measured.
//
// Invariants: no draft is longer than the sequence's room; where no draft can pay, no drafter runs;
// nobody's expected time grows by more than kTolerance for the sake of others' drafts, or of its
// own that fail. What it decides changes speed only.
//
// Probing: every proposal that was made is compared with what came, also where it was not verified.
// What asking for proposals takes in steps that then verify none is at most kLookShare of the time,
// and what the draft model takes for proposals that nobody means to verify is at most kProbeShare.
// A plain step now and then keeps the price of plain steps up to date: in 64 steps one, more often
// while that price is not as expected.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "speculative_decoding/acceptance.h"
#include "speculative_decoding/draft_lengths.h"
#include "speculative_decoding/drafter.h"
#include "speculative_decoding/model_drafter.h"
#include "speculative_decoding/speculation.h"
#include "speculative_decoding/step_times.h"

namespace millrace {

// A decoding sequence of the step.
struct SpeculationSlot {
  DraftTask task;  // task.wanted: set by Plan, may be lowered before Draft
  size_t slice = 0;
  int32_t room = 0;           // 0: gets no draft
  int32_t room_to_limit = 0;  // tokens that the sequence may still grow by
  int32_t position = 0;       // set by Plan: tokens before the step
  Speculation mode = Speculation::kOff;
  DrafterKind drafter = DrafterKind::kLookup;  // set by Plan, where task.wanted > 0
};

class Speculator {
 public:
  // What plain decoding may be slower by, at most, for each request over its life.
  static constexpr double kTolerance = 0.02;
  static constexpr double kLookShare = 0.005;
  static constexpr double kMostToLook = 0.002;  // seconds that may be looked at once
  static constexpr double kProbeShare = 0.005;
  static constexpr int32_t kMostDraftedPerPlain = 64, kLeastDraftedPerPlain = 16;

  // `config` must have passed Validate; `vocab_size`: the target's. Without `draft`, there is no
  // draft model.
  Speculator(const SpeculationConfig& config, int32_t vocab_size,
             std::unique_ptr<DraftModel> draft = nullptr);
  ~Speculator();

  bool active() const { return config_.mode != Speculation::kOff; }
  bool has_draft_model() const { return model_ != nullptr; }
  // Of the draft model's keys and values; 0 without one.
  int64_t draft_kv_bytes() const { return model_ ? model_->kv().bytes() : 0; }

  // Times steps of the target and of the draft model; `scratch`: blocks that nobody uses.
  void MeasureAtStart(Model& target, KvStore& kv, std::span<const BlockId> scratch,
                      const Clock& clock);

  void CopyBlock(BlockId from, BlockId to);
  // A step of so many decoding sequences, which hold `depth` tokens together, and `prefill_rows`
  // begins. Whether drafts are worth looking for: Plan and Draft are called only then.
  bool Begin(int32_t sequences, int64_t depth, int32_t prefill_rows);
  // Chooses the drafter of each slot, one per decoding sequence, and how many tokens to ask for.
  void Plan(std::span<SpeculationSlot> slots);
  // Fills in the drafts: at most task.wanted tokens each.
  void Draft(std::span<SpeculationSlot> slots);
  // What the target said: the tokens that were appended to the slot's sequence, of which the first
  // `accepted` are its draft's.
  void Verified(const SpeculationSlot& slot, std::span<const Sampled> tokens, int32_t accepted);
  // The step is over: what Begin, Plan and Draft took, and the rest. `slots`: none where Begin said
  // so.
  void Observe(std::span<const SpeculationSlot> slots, Duration drafting, Duration verifying);
  void Finish(RequestId request, std::string_view space, std::span<const TokenId> tokens,
              int32_t prompt_tokens);

  // What speculation has saved the request so far.
  Duration SavedFor(RequestId request) const;
  const SpeculationStats& stats() const { return stats_; }
  const StepTimes& times() const { return times_; }

 private:
  static constexpr size_t kCheap = 2;  // lookup and suffix: asked before anything is decided

  // What is remembered of a request while it lives.
  struct RequestState {
    RequestAcceptance acceptance;
    double plain = 0;  // seconds that its tokens would have taken without speculation
    double saved = 0;
    int32_t idle = 0;  // looks in a row that led to no draft
  };
  // A proposal of the step, verified or not.
  struct Proposal {
    DrafterKind kind;
    int32_t confidence;
    std::vector<TokenId> tokens;
  };
  // What this step knows of a slot.
  struct Look {
    RequestId request;
    RequestState* state = nullptr;
    std::vector<Proposal> proposals;
    std::vector<DraftOffer> offers;
    bool reads = false;   // the draft model reads on, without drafting
    bool probes = false;  // and drafts one token that is not verified
    int32_t tokens = 0;   // that the step brought
  };

  bool Allows(const SpeculationSlot& slot, DrafterKind kind) const;
  void ObservePrice(const StepShape& shape, int32_t drafted, double seconds);
  void ObserveDrafting(int32_t drafted, double seconds);
  void PlanFixed(std::span<SpeculationSlot> slots);
  bool ShouldLook(const RequestState& state) const;
  bool CouldPay(int32_t sequences);
  static void CutToAllowed(DraftTask& task);
  void AskCheapDrafters(SpeculationSlot& slot, Look& look);
  void ConsiderModel(SpeculationSlot& slot, Look& look, size_t sequences);
  bool IsWorthReading(const SpeculationSlot& slot, const DraftOffer& offer, int32_t unread,
                      size_t sequences) const;
  void AddOffer(Look& look, DrafterKind kind, int32_t confidence, int32_t length);
  void Choose(std::span<SpeculationSlot> slots);
  void PlanProbe(std::span<SpeculationSlot> slots);
  void RunModel(std::span<SpeculationSlot> slots);
  int64_t MeanDepth() const;  // of a sequence
  double StepSeconds(int32_t drafted) const;
  double DraftStepSeconds(int32_t sequences, int32_t rows) const;
  double SlackOf(const RequestState& state) const;

  SpeculationConfig config_;
  std::array<std::unique_ptr<Drafter>, kCheap> cheap_;  // by kind
  std::unique_ptr<ModelDrafter> model_;                 // may be absent
  Acceptance acceptance_;
  StepTimes times_, draft_times_;
  double draft_overhead_ =
      0;  // seconds beside its forward pass that a token of the draft model takes
  std::unordered_map<RequestId, RequestState> requests_;
  SpeculationStats stats_;

  // Of the current step.
  std::vector<Look> looks_;
  StepShape shape_;  // without drafts and prefill
  double prefill_seconds_ = 0;
  int32_t prefill_rows_ = 0;
  double model_seconds_ = 0;  // what the draft model should take
  int32_t model_tokens_ = 0;  // drafted by it in this step, as planned
  bool drafted_ = false;

  int64_t step_ = 0;
  int32_t drafted_steps_ = 0;  // in a row
  int32_t drafted_per_plain_ = kLeastDraftedPerPlain;
  bool looked_ = false;                      // in this step
  double look_budget_ = kMostToLook;         // seconds
  double probe_budget_ = 0;                  // seconds
  std::array<int64_t, 257> pays_checked_{};  // by sequences: the step of the last check, plus one
  std::array<bool, 257> pays_{};
};

}  // namespace millrace
