#if defined(__x86_64__)

#include "base/f32x16_avx2.h"
#include "nn_ops/nn_ops_body.h"
#include "nn_ops/tables.h"

const millrace::NnKernels millrace::nn_ops_internal::kAvx2 = millrace::kKernels;

#endif
