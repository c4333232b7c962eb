#if defined(__x86_64__)

#include "base/f32x16_avx2.h"
#include "prompt_reduction/bf16_dot_body.h"

const millrace::Bf16Dot millrace::bf16_dot_internal::kAvx2 = millrace::DotRow;

#endif
