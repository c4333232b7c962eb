// One table per instruction set. Internal to sampling/.
#pragma once

#include "sampling/weights.h"

namespace millrace::sampling_internal {

extern const WeightKernels kScalarWeights;
extern const WeightKernels kAvx2Weights;
extern const WeightKernels kAvx512Weights;

}  // namespace millrace::sampling_internal
