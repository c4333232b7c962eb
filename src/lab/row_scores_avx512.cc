#if defined(__x86_64__)

#include "base/f32x16_avx512.h"
#include "lab/row_scores_body.h"

const millrace::RowScoreKernels millrace::row_scores_internal::kAvx512 = millrace::kRowScoreKernels;

#endif
