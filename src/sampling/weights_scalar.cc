#include "sampling/weights_kernels.h"
#include "sampling/weights_loop.h"

namespace millrace::sampling_internal {

const WeightKernels kScalarWeights = {.weigh = Weigh, .sum = Sum};

}  // namespace millrace::sampling_internal
