#if defined(__x86_64__)

#include "base/f32x16_avx512.h"

namespace millrace {
namespace {

void HalvesToFloats(const uint16_t* halves, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i sixteen = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + i));
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(sixteen));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(halves[i]);
}

}  // namespace
}  // namespace millrace

#include "quantization/fit_body.h"

const millrace::FitKernels millrace::fit_internal::kAvx512 = millrace::kFitKernels;

#endif
