#include "base/f32x16_scalar.h"
#include "lab/row_scores_body.h"

const millrace::RowScoreKernels millrace::row_scores_internal::kScalar = millrace::kRowScoreKernels;

const millrace::RowScoreKernels& millrace::RowScoreKernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return row_scores_internal::kAvx512;
  if (isa == Isa::kAvx2 || isa == Isa::kAvxVnni) return row_scores_internal::kAvx2;
#endif
  (void)isa;
  return row_scores_internal::kScalar;
}
