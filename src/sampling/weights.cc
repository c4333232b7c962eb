#include "sampling/weights.h"

#include "sampling/weights_kernels.h"

namespace millrace {

using namespace sampling_internal;

const WeightKernels& WeightKernelsFor(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx512:
      return kAvx512Weights;
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return kAvx2Weights;
#endif
    default:
      return kScalarWeights;  // on ARM the compiler's NEON
  }
}

}  // namespace millrace
