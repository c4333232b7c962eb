#include "base/f32x16_scalar.h"
#include "nn_ops/nn_ops_body.h"
#include "nn_ops/tables.h"

const millrace::NnKernels millrace::nn_ops_internal::kScalar = millrace::kKernels;
