#include "quantization/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "quantization/lane_batch.h"

namespace millrace {
namespace {

using quantize_internal::NearestHalf;
using quantize_internal::QuantizeAffine;
using quantize_internal::QuantizeSymmetric;
using quantize_internal::Source;
using quantize_internal::StoreHalf;

void EncodeF16(std::span<const float> values, uint8_t* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t h = F32ToF16(values[i]);
    std::memcpy(out + 2 * i, &h, sizeof(h));
  }
}

void EncodeBF16(std::span<const float> values, uint8_t* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t h = F32ToBf16(values[i]);
    std::memcpy(out + 2 * i, &h, sizeof(h));
  }
}

// The plain rounding that ggml defines: eight bits gain next to nothing from a search.
void EncodeQ8_0(std::span<const float> values, uint8_t* b) {
  for (size_t at = 0; at < values.size(); at += 32, b += 34) {
    float x[32], largest = 0.0f;
    for (size_t j = 0; j < 32; ++j) {
      x[j] = std::isfinite(values[at + j]) ? values[at + j] : 0.0f;
      largest = std::max(largest, std::fabs(x[j]));
    }
    const float d = NearestHalf(largest / 127.0f);
    const float inverse = std::isfinite(1.0f / d) ? 1.0f / d : 0.0f;
    StoreHalf(b, d);
    for (int j = 0; j < 32; ++j) {
      const float q = std::clamp(x[j] * inverse, -127.0f, 127.0f);
      b[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(q)));
    }
  }
}

}  // namespace

bool CanQuantize(DType type) {
  switch (type) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ6_K:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
    case DType::kMXFP4:
      return true;
    default:
      return false;
  }
}

void QuantizeRows(const FitKernels& kernels, DType type, std::span<const float> values,
                  std::span<const float> importance, std::span<std::byte> out) {
  CHECK(CanQuantize(type));
  CHECK(out.size() == static_cast<size_t>(RowBytes(type, static_cast<int64_t>(values.size()))));
  CHECK(importance.empty() || values.size() % importance.size() == 0);
  uint8_t* const to = reinterpret_cast<uint8_t*>(out.data());
  switch (type) {
    case DType::kF32:
      std::memcpy(to, values.data(), values.size_bytes());
      return;
    case DType::kF16:
      return EncodeF16(values, to);
    case DType::kBF16:
      return EncodeBF16(values, to);
    case DType::kQ8_0:
      return EncodeQ8_0(values, to);
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ2_K:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return QuantizeAffine(type, Source{kernels, values, importance}, to);
    default:
      return QuantizeSymmetric(type, Source{kernels, values, importance}, to);
  }
}

void QuantizeRow(DType type, std::span<const float> values, std::span<std::byte> out) {
  QuantizeRows(FitKernelsFor(Isa::kScalar), type, values, {}, out);
}

}  // namespace millrace
