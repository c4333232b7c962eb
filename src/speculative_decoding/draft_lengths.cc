#include "speculative_decoding/draft_lengths.h"

#include <algorithm>
#include <limits>

namespace millrace {
namespace {

// The offer and length that gain most where this sequence alone drafts.
struct Solo {
  const DraftOffer* offer = nullptr;
  double gain = 0;
};

Solo BestAlone(const SequenceOffer& sequence, double others, double plain, double draft_token,
               const StepPrices& prices) {
  Solo best;
  for (const DraftOffer& offer : sequence.offers) {
    double tokens = others + 1, drafting = 0;
    for (int32_t n = 1; n <= offer.length; ++n) {
      tokens += offer.chance[static_cast<size_t>(n - 1)];
      if (offer.kind == DrafterKind::kModel) drafting += draft_token;
      const double gain = tokens / (prices.step(n) + drafting) * plain / (others + 1);
      if (gain > best.gain) best = {&offer, gain};
    }
  }
  return best;
}

// One more token of a sequence's draft.
struct Increment {
  double chance;
  size_t sequence;
  int32_t place;
};

}  // namespace

DraftDecision ChooseDraftLengths(std::span<const SequenceOffer> sequences,
                                 std::span<const double> others, const StepPrices& prices) {
  DraftDecision decision;
  decision.choices.resize(sequences.size());
  const auto modelled = static_cast<int32_t>(
      std::count_if(sequences.begin(), sequences.end(), [](const SequenceOffer& sequence) {
        return std::any_of(sequence.offers.begin(), sequence.offers.end(),
                           [](const auto& o) { return o.kind == DrafterKind::kModel; });
      }));
  const double plain = prices.step(0);
  const double draft_token = modelled > 0 ? prices.draft_step(modelled) / modelled : 0;
  const double plain_tokens = static_cast<double>(sequences.size() + others.size());

  std::vector<const DraftOffer*> offers(sequences.size());
  std::vector<Increment> increments;
  for (size_t i = 0; i < sequences.size(); ++i) {
    offers[i] = BestAlone(sequences[i], plain_tokens - 1, plain, draft_token, prices).offer;
    for (int32_t place = 0; offers[i] != nullptr && place < offers[i]->length; ++place) {
      increments.push_back({offers[i]->chance[static_cast<size_t>(place)], i, place});
    }
  }
  // Chances fall within a draft, so that the order never asks for a token before the one before it.
  std::sort(increments.begin(), increments.end(), [](const Increment& a, const Increment& b) {
    if (a.chance != b.chance) return a.chance > b.chance;
    return a.place != b.place ? a.place < b.place : a.sequence < b.sequence;
  });

  const double least_other = others.empty()
                                 ? std::numeric_limits<double>::infinity()
                                 : plain + *std::min_element(others.begin(), others.end());
  // Until when each sequence's tokens are due.
  std::vector<double> due(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) due[i] = plain + sequences[i].slack;
  std::array<int32_t, kMaxDraft> depth{};  // of the draft model: sequences at each place
  double tokens = plain_tokens, drafting = 0;
  size_t best = 0;
  decision.gain = prices.least_gain;
  for (size_t taken = 1; taken <= increments.size(); ++taken) {
    const Increment& next = increments[taken - 1];
    tokens += next.chance;
    due[next.sequence] += next.chance * plain;
    if (offers[next.sequence]->kind == DrafterKind::kModel) {
      int32_t& at = depth[static_cast<size_t>(next.place)];
      if (at > 0) drafting -= prices.draft_step(at);
      drafting += prices.draft_step(++at);
    }
    const double time = prices.step(static_cast<int32_t>(taken)) + drafting;
    const double gain = tokens / time * plain / plain_tokens;
    if (gain <= decision.gain || time > least_other) continue;
    if (time > *std::min_element(due.begin(), due.end())) continue;
    decision.gain = gain;
    best = taken;
  }
  for (size_t taken = 0; taken < best; ++taken) {
    const Increment& increment = increments[taken];
    decision.choices[increment.sequence] = {offers[increment.sequence]->kind, increment.place + 1};
  }
  if (best == 0) decision.gain = 1.0;
  return decision;
}

}  // namespace millrace
