// DraftLengths: how many tokens of each sequence's draft a step should verify, so that the batch as
// a whole gains the most tokens per second and nobody is slowed by the others' drafts.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "speculative_decoding/drafter.h"

namespace millrace {

// What a drafter offers for a sequence: the chance of each of its tokens to be right together with
// all before it; falling.
struct DraftOffer {
  DrafterKind kind = DrafterKind::kLookup;
  int32_t length = 0;
  std::array<double, kMaxDraft> chance{};
};

struct SequenceOffer {
  std::span<const DraftOffer> offers;
  // Seconds that the sequence may lose to this step: what speculation has saved it so far and its
  // tolerance.
  double slack = 0;
};

struct StepPrices {
  std::function<double(int32_t drafted)> step;  // seconds of the step with so many drafted rows
  // Seconds of one step of the draft model with so many sequences.
  std::function<double(int32_t sequences)> draft_step;
  // What verification must promise over plain decoding, as a factor, to be worth the risk.
  double least_gain = 1.03;
};

struct DraftChoice {
  DrafterKind kind = DrafterKind::kLookup;
  int32_t length = 0;
};

struct DraftDecision {
  std::vector<DraftChoice> choices;  // one per sequence; length 0: no draft
  double gain = 1.0;                 // expected tokens per second over plain decoding's
};

// Invariant: the step's expected time leaves every sequence, and each of `others` (which have no
// drafts, and as much slack), with its expected tokens no later than plain decoding would have, but
// for its slack. Each sequence uses one drafter: the one that would gain most if it drafted alone.
DraftDecision ChooseDraftLengths(std::span<const SequenceOffer> sequences,
                                 std::span<const double> others, const StepPrices& prices);

}  // namespace millrace
