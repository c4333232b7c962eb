#include "base/f32x16_scalar.h"
#include "prompt_reduction/bf16_dot_body.h"

const millrace::Bf16Dot millrace::bf16_dot_internal::kScalar = millrace::DotRow;
