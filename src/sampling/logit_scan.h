// One-pass scans over a row of logits. A NaN never compares greater, so it never wins.
#pragma once

#include <span>

#include "base/id.h"

namespace millrace {

// The largest logit; -infinity for an empty row or one without a number.
float MaxOf(std::span<const float> logits);
// The smallest id among those with the largest logit; 0 where no logit is above -infinity.
TokenId ArgMax(std::span<const float> logits);
// Whether any logit is NaN.
bool HasNan(std::span<const float> logits);

}  // namespace millrace
