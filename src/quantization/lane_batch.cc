#include "quantization/lane_batch.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/float16.h"

namespace millrace::quantize_internal {
namespace {

// 2^-e for the largest magnitude in [2^e, 2^(e+1)); 1 for zeros.
float ScaleToOne(float largest) {
  if (!(largest > 0.0f)) return 1.0f;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::ldexp(1.0f, std::clamp(1 - exponent, -126, 126));
}

// Importance scaled to a largest of 1, never quite 0, so that a column that calibration never
// touched still gets a sensible code.
void CopyImportance(std::span<const float> from, float* to) {
  const float largest = *std::max_element(from.begin(), from.end());
  const float factor = largest > 0.0f && std::isfinite(largest) ? 1.0f / largest : 0.0f;
  for (size_t i = 0; i < from.size(); ++i) {
    const float scaled = from[i] * factor;
    to[i] = std::isfinite(scaled) ? std::max(scaled, 1e-6f) : 1.0f;
  }
}

}  // namespace

void FillBatch(const Source& source, const BlockShape& shape, size_t first_block,
               LaneBatch& batch) {
  const FitKernels& k = source.kernels;
  const auto elements = static_cast<size_t>(shape.elements());
  const size_t left = source.values.size() / elements - first_block;
  batch.length = shape.length;
  batch.blocks = static_cast<int>(std::min(left, static_cast<size_t>(shape.blocks_per_batch())));
  const auto used = static_cast<size_t>(kLanes * shape.length);
  if (batch.blocks < shape.blocks_per_batch()) std::fill_n(batch.x, used, 0.0f);
  alignas(64) float deviation[kLanes], importance[kLanes * kMostLaneElements];
  std::fill_n(deviation, kLanes, 1.0f);
  std::fill_n(batch.unit, kLanes, 1.0f);
  if (!source.importance.empty()) std::fill_n(importance, used, 1.0f);
  for (int b = 0; b < batch.blocks; ++b) {
    const size_t at = (first_block + static_cast<size_t>(b)) * elements;
    const float* values = source.values.data() + at;
    float cleaned[256], largest = 0, squares = 0;
    if (!k.measure(values, shape.elements(), &largest, &squares)) {
      for (size_t i = 0; i < elements; ++i) cleaned[i] = std::isfinite(values[i]) ? values[i] : 0;
      values = cleaned;
      k.measure(values, shape.elements(), &largest, &squares);
    }
    const float factor = ScaleToOne(largest);
    const int lane = b * shape.lanes;
    k.transpose(values, shape.length, shape.lanes, lane, factor, batch.x);
    const float mean = squares * factor / static_cast<float>(elements) * factor;
    std::fill_n(deviation + lane, shape.lanes, std::isfinite(mean) ? std::sqrt(mean) : 1.0f);
    std::fill_n(batch.unit + lane, shape.lanes, 1.0f / factor);
    if (source.importance.empty()) continue;
    float scaled[256];
    CopyImportance(source.importance.subspan(at % source.importance.size(), elements), scaled);
    k.transpose(scaled, shape.length, shape.lanes, lane, 1.0f, importance);
  }
  k.weigh(batch.x, source.importance.empty() ? nullptr : importance, shape.length, deviation,
          batch.w);
}

float NearestHalf(float d) { return F16ToF32(F32ToF16(std::clamp(d, -65504.0f, 65504.0f))); }

void StoreHalf(uint8_t* p, float value) {
  const uint16_t h = F32ToF16(value);
  std::memcpy(p, &h, sizeof(h));
}

}  // namespace millrace::quantize_internal
