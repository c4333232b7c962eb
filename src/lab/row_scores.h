// What one row of logits says: the loss of the token that came, and its divergence from a reference
// row. Kernels per instruction set with the same bits (base/f32x16_*.h).
#pragma once

#include <cstdint>

#include "simd/isa.h"

namespace millrace {

struct RowSummary {
  float log_sum = 0;  // ln sum exp(logit)
  int32_t top = 0;    // the first largest
};

struct RowScoreKernels {
  // n >= 1 finite logits.
  RowSummary (*summarise)(const float* logits, int64_t n);
  // sum p (ln p - ln q) in nats, p of the reference's row and q of the other, both summarised.
  float (*divergence)(const float* reference, float reference_log_sum, const float* other,
                      float other_log_sum, int64_t n);
};

const RowScoreKernels& RowScoreKernelsFor(Isa isa);

namespace row_scores_internal {
extern const RowScoreKernels kScalar;
#if defined(__x86_64__)
extern const RowScoreKernels kAvx2;
extern const RowScoreKernels kAvx512;
#endif
}  // namespace row_scores_internal

}  // namespace millrace
