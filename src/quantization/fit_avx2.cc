#if defined(__x86_64__)

#include "base/f32x16_avx2.h"

namespace millrace {
namespace {

void HalvesToFloats(const uint16_t* halves, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(eight));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(halves[i]);
}

}  // namespace
}  // namespace millrace

#include "quantization/fit_body.h"

const millrace::FitKernels millrace::fit_internal::kAvx2 = millrace::kFitKernels;

#endif
