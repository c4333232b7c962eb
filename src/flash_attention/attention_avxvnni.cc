#if defined(__x86_64__)

#include "base/f32x16_avx2.h"
#include "flash_attention/dots_avx2.h"
#include "flash_attention/tuning_narrow.h"

// After what it is made of.
#include "flash_attention/attention_body.h"

const millrace::AttentionKernels millrace::flash_attention_internal::kAvxVnni = millrace::kKernels;

#endif
