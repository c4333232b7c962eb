#if defined(__x86_64__)

#include "base/f32x16_avx2.h"
#include "flash_attention/dots_avx2.h"

namespace millrace {
namespace {

// 8 of the 16 registers hold sums.
struct Tuning {
  static constexpr int kScoreRows = 4;
  static constexpr int kScoreVectors = 1;
  static constexpr int kValueRows = 4;
  static constexpr int kValueVectors = 1;
  static constexpr int kByteVectors = 1;
};

}  // namespace
}  // namespace millrace

#include "flash_attention/attention_body.h"

const millrace::AttentionKernels millrace::flash_attention_internal::kAvx2 = millrace::kKernels;

#endif
