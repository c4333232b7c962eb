// Acceptance: how likely the next proposed token is right, per request and place in the draft.
//
// What all requests saw gives the rate of a drafter, by its confidence and the place; what a
// request saw itself, against what that rate led to expect, moves it for this request. Both fade,
// so that the estimate follows the text.
#pragma once

#include <array>
#include <cstdint>

#include "speculative_decoding/drafter.h"

namespace millrace {

// A ratio of two sums that fade: right proposals over expected ones.
struct FadingRatio {
  double right = 0, tried = 0;
  void Fade(double keep) {
    right *= keep;
    tried *= keep;
  }
};

// What is remembered of one request, by drafter.
struct RequestAcceptance {
  std::array<FadingRatio, kDrafterKinds> seen{};  // `tried`: as many as were expected to be right
};

class Acceptance {
 public:
  Acceptance();
  // The place-th token (from 0) of a draft, where those before it are right.
  double Of(const RequestAcceptance& request, DrafterKind kind, int32_t confidence,
            int32_t place) const;
  // Of the first `drafted` proposals, the first `right` were right and, where there is one, the
  // next was wrong.
  void Observe(RequestAcceptance& request, DrafterKind kind, int32_t confidence, int32_t drafted,
               int32_t right);

 private:
  FadingRatio& At(DrafterKind kind, int32_t confidence, int32_t place);
  double Rate(DrafterKind kind, int32_t confidence, int32_t place) const;

  static constexpr int32_t kPlaces = 8;  // the last stands for all behind it
  std::array<std::array<std::array<FadingRatio, kPlaces>, kConfidences>, kDrafterKinds> all_;
};

}  // namespace millrace
