#if defined(__x86_64__)

#include "base/f32x16_avx2.h"
#include "lab/row_scores_body.h"

const millrace::RowScoreKernels millrace::row_scores_internal::kAvx2 = millrace::kRowScoreKernels;

#endif
