#include "nn_ops/nn_ops.h"

#include "nn_ops/tables.h"

namespace millrace {

const NnKernels& NnKernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return nn_ops_internal::kAvx512;
  if (isa == Isa::kAvx2 || isa == Isa::kAvxVnni) return nn_ops_internal::kAvx2;
#else
  static_cast<void>(isa);
#endif
  return nn_ops_internal::kScalar;
}

}  // namespace millrace
