#if defined(__x86_64__)

#include "base/f32x16_avx512.h"
#include "flash_attention/dots_avx512.h"

namespace millrace {
namespace {

// 16 of the 32 registers hold sums; the others keys or values, a broadcast, and room for the
// compiler.
struct Tuning {
  static constexpr int kScoreRows = 8;
  static constexpr int kScoreVectors = 2;
  static constexpr int kValueRows = 4;
  static constexpr int kValueVectors = 4;
  static constexpr int kByteVectors = 2;
};

}  // namespace
}  // namespace millrace

#include "flash_attention/attention_body.h"

const millrace::AttentionKernels millrace::flash_attention_internal::kAvx512 = millrace::kKernels;

#endif
