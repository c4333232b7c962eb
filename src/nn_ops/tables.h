// The tables of the instruction sets that this build contains; NnKernelsFor chooses among them.
#pragma once

#include "nn_ops/nn_ops.h"

namespace millrace::nn_ops_internal {

extern const NnKernels kScalar;
#if defined(__x86_64__)
extern const NnKernels kAvx2;
extern const NnKernels kAvx512;
#endif

}  // namespace millrace::nn_ops_internal
