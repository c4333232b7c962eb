#include "speculative_decoding/acceptance.h"

#include <algorithm>

namespace millrace {
namespace {

// What is assumed before anything is seen, by confidence, and how many observations that weighs.
constexpr std::array<double, kConfidences> kPrior = {0.5, 0.6, 0.7, 0.8};
constexpr double kPriorWeight = 4;
// Of a request: how many right proposals its own record needs to weigh as much as all others'.
constexpr double kRequestWeight = 1.5;
constexpr double kKeepOfAll = 1.0 - 1.0 / 256;  // per proposal
constexpr double kKeepOfRequest = 0.9;          // per draft
constexpr double kMostLikely = 0.995;

}  // namespace

Acceptance::Acceptance() {
  for (auto& kind : all_) {
    for (size_t c = 0; c < kind.size(); ++c) {
      kind[c].fill({.right = kPrior[c] * kPriorWeight, .tried = kPriorWeight});
    }
  }
}

FadingRatio& Acceptance::At(DrafterKind kind, int32_t confidence, int32_t place) {
  return all_[static_cast<size_t>(kind)][static_cast<size_t>(confidence)]
             [static_cast<size_t>(std::min(place, kPlaces - 1))];
}

double Acceptance::Rate(DrafterKind kind, int32_t confidence, int32_t place) const {
  const FadingRatio& ratio = all_[static_cast<size_t>(kind)][static_cast<size_t>(confidence)]
                                 [static_cast<size_t>(std::min(place, kPlaces - 1))];
  return ratio.right / ratio.tried;
}

double Acceptance::Of(const RequestAcceptance& request, DrafterKind kind, int32_t confidence,
                      int32_t place) const {
  const FadingRatio& own = request.seen[static_cast<size_t>(kind)];
  const double factor = (own.right + kRequestWeight) / (own.tried + kRequestWeight);
  return std::min(Rate(kind, confidence, place) * factor, kMostLikely);
}

void Acceptance::Observe(RequestAcceptance& request, DrafterKind kind, int32_t confidence,
                         int32_t drafted, int32_t right) {
  FadingRatio& own = request.seen[static_cast<size_t>(kind)];
  own.Fade(kKeepOfRequest);
  for (int32_t place = 0; place < std::min(right + 1, drafted); ++place) {
    const double is_right = place < right ? 1.0 : 0.0;
    own.right += is_right;
    own.tried += Rate(kind, confidence, place);
    FadingRatio& ratio = At(kind, confidence, place);
    ratio.Fade(kKeepOfAll);
    ratio.right += is_right;
    ratio.tried += 1.0;
  }
}

}  // namespace millrace
