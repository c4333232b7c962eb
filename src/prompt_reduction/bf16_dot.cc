#include "prompt_reduction/bf16_dot.h"

#include "simd/isa.h"

namespace millrace {

SplitVector::SplitVector(std::span<const float> vector) {
  const size_t padded = (vector.size() + kDotStep - 1) / kDotStep * kDotStep;
  even.resize(padded / 2);
  odd.resize(padded / 2);
  for (size_t i = 0; i < vector.size(); ++i) (i % 2 == 0 ? even : odd)[i / 2] = vector[i];
}

Bf16Dot Bf16DotForThisMachine() {
#if defined(__x86_64__)
  if (DetectIsa() != Isa::kScalar) return bf16_dot_internal::kAvx2;
#endif
  return bf16_dot_internal::kScalar;
}

}  // namespace millrace
