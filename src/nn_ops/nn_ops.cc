#include "nn_ops/nn_ops.h"

#include "nn_ops/tables.h"

namespace millrace {

const NnKernels& NnKernelsFor(Isa) { return nn_ops_internal::kScalar; }

}  // namespace millrace
