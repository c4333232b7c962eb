#include "base/f32x16_scalar.h"
#include "flash_attention/dots_scalar.h"

namespace millrace {
namespace {

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

const millrace::AttentionKernels millrace::flash_attention_internal::kScalar = millrace::kKernels;
