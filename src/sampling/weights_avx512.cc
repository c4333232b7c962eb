#include "sampling/weights_kernels.h"
#include "sampling/weights_loop.h"

namespace millrace::sampling_internal {

const WeightKernels kAvx512Weights = {.weigh = Weigh, .sum = Sum};

}  // namespace millrace::sampling_internal
