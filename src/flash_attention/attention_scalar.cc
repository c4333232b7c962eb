#include "base/f32x16_scalar.h"
#include "flash_attention/dots_scalar.h"
#include "flash_attention/tuning_narrow.h"

// After what it is made of.
#include "flash_attention/attention_body.h"

const millrace::AttentionKernels millrace::flash_attention_internal::kScalar = millrace::kKernels;
