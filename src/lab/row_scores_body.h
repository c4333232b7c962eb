// The kernels of row_scores.h over F32x16, included after one of base/f32x16_*.h.
#pragma once

#include "base/f32x16_math.h"
#include "lab/row_scores.h"

namespace millrace {
namespace {

constexpr int64_t kPartial =
    4096;  // elements summed in single precision before the double takes over

// __builtin_log of a double in f32: baseline code of the C library.
inline float LogOf(double x) { return static_cast<float>(__builtin_log(x)); }

RowSummary Summarise(const float* logits, int64_t n) {
  F32x16 most = Set1(logits[0]);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) most = Max(Load(logits + i), most);
  float largest = ReduceMax(most);
  for (; i < n; ++i) largest = logits[i] > largest ? logits[i] : largest;
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kPartial) {
    const int64_t end = begin + kPartial < n ? begin + kPartial : n;
    F32x16 partial = Set1(0.0f);
    for (i = begin; i + 16 <= end; i += 16)
      partial = Add(partial, Exp(Sub(Load(logits + i), Set1(largest))));
    if (i < end) {
      const Mask16 there = LaneRange(0, static_cast<int>(end - i));
      const F32x16 e = Exp(Sub(LoadFirst(logits + i, end - i), Set1(largest)));
      partial = Add(partial, Select(there, e, Set1(0.0f)));
    }
    sum += static_cast<double>(ReduceAdd(partial));
  }
  RowSummary summary;
  summary.log_sum = largest + LogOf(sum);
  for (i = 0; i < n; ++i) {
    if (logits[i] == largest) break;
  }
  summary.top = static_cast<int32_t>(i < n ? i : 0);
  return summary;
}

float Divergence(const float* reference, float reference_log_sum, const float* other,
                 float other_log_sum, int64_t n) {
  const F32x16 r_sum = Set1(reference_log_sum), o_sum = Set1(other_log_sum);
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kPartial) {
    const int64_t end = begin + kPartial < n ? begin + kPartial : n;
    F32x16 partial = Set1(0.0f);
    for (int64_t i = begin; i < end; i += 16) {
      const int64_t count = end - i < 16 ? end - i : 16;
      const F32x16 log_p = Sub(LoadFirst(reference + i, count), r_sum);
      const F32x16 log_q = Sub(LoadFirst(other + i, count), o_sum);
      const F32x16 p = Select(LaneRange(0, static_cast<int>(count)), Exp(log_p), Set1(0.0f));
      partial = Fma(p, Sub(log_p, log_q), partial);
    }
    sum += static_cast<double>(ReduceAdd(partial));
  }
  return static_cast<float>(sum);
}

constexpr RowScoreKernels kRowScoreKernels = {Summarise, Divergence};

}  // namespace
}  // namespace millrace
