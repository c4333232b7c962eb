#include "base/f32x16_scalar.h"
#include "base/float16.h"
#include "simd/isa.h"

namespace millrace {
namespace {

void HalvesToFloats(const uint16_t* halves, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = F16ToF32(halves[i]);
}

}  // namespace
}  // namespace millrace

#include "quantization/fit_body.h"

const millrace::FitKernels millrace::fit_internal::kScalar = millrace::kFitKernels;

const millrace::FitKernels& millrace::FitKernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return fit_internal::kAvx512;
  if (isa == Isa::kAvx2 || isa == Isa::kAvxVnni) return fit_internal::kAvx2;
#endif
  (void)isa;
  return fit_internal::kScalar;
}
