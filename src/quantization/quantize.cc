#include "quantization/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "quantization/block_formats.h"

namespace millrace {
namespace {

void StoreHalf(uint8_t* p, float value) {
  const uint16_t h = F32ToF16(value);
  std::memcpy(p, &h, sizeof(h));
}

float RoundedToHalf(float value) { return F16ToF32(F32ToF16(value)); }

int RoundAndClamp(float value, int low, int high) {
  const float bounded = std::clamp(value, static_cast<float>(low), static_cast<float>(high));
  return static_cast<int>(std::nearbyint(bounded));
}

// 1 / d, or 0 where that is not finite: a sub-block so small is written as zeros.
float Inverse(float d) {
  const float inverse = 1.0f / d;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

void EncodeF32(const float* x, uint8_t* b) { std::memcpy(b, x, sizeof(float)); }
void EncodeF16(const float* x, uint8_t* b) { StoreHalf(b, *x); }
void EncodeBF16(const float* x, uint8_t* b) {
  const uint16_t h = F32ToBf16(*x);
  std::memcpy(b, &h, sizeof(h));
}

void EncodeQ8_0(const float* x, uint8_t* b) {
  float largest = 0.0f;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(x[j]));
  const float d = RoundedToHalf(largest / 127.0f);
  const float inverse = Inverse(d);
  StoreHalf(b, d);
  for (int j = 0; j < 32; ++j) {
    b[2 + j] = static_cast<uint8_t>(RoundAndClamp(x[j] * inverse, -127, 127));
  }
}

void EncodeQ4_0(const float* x, uint8_t* b) {
  float extreme = 0.0f;  // the value of largest magnitude, with its sign: it becomes -8
  for (int j = 0; j < 32; ++j) {
    if (std::fabs(x[j]) > std::fabs(extreme)) extreme = x[j];
  }
  const float d = RoundedToHalf(extreme / -8.0f);
  const float inverse = Inverse(d);
  StoreHalf(b, d);
  for (int j = 0; j < 16; ++j) {
    const int low = RoundAndClamp(x[j] * inverse, -8, 7) + 8;
    const int high = RoundAndClamp(x[j + 16] * inverse, -8, 7) + 8;
    b[2 + j] = static_cast<uint8_t>(low | high << 4);
  }
}

// x is about scale * q - min with q in 0..top and min >= 0.
struct AffineFit {
  float scale = 0.0f;
  float min = 0.0f;
};

double SquaredError(const float* x, int n, AffineFit fit, int top) {
  const float inverse = Inverse(fit.scale);
  double error = 0.0;
  for (int i = 0; i < n; ++i) {
    const int q = RoundAndClamp((x[i] + fit.min) * inverse, 0, top);
    const double e = static_cast<double>(fit.scale) * q - fit.min - x[i];
    error += e * e;
  }
  return error;
}

// Least squares of x on (q, 1) for the codes that `start` gives; `start` where the system is
// singular or min < 0.
AffineFit Refit(const float* x, int n, AffineFit start, int top) {
  const float inverse = Inverse(start.scale);
  double sum_q = 0, sum_qq = 0, sum_x = 0, sum_qx = 0;
  for (int i = 0; i < n; ++i) {
    const double q = RoundAndClamp((x[i] + start.min) * inverse, 0, top);
    sum_q += q;
    sum_qq += q * q;
    sum_x += x[i];
    sum_qx += q * x[i];
  }
  const double determinant = n * sum_qq - sum_q * sum_q;
  if (!(determinant > 0.0)) return start;
  AffineFit fit{static_cast<float>((n * sum_qx - sum_q * sum_x) / determinant),
                static_cast<float>((sum_q * sum_qx - sum_qq * sum_x) / determinant)};
  if (fit.min < 0.0f) fit = {static_cast<float>(sum_qx / sum_qq), 0.0f};
  return fit.scale > 0.0f ? fit : start;
}

AffineFit FitAffine(const float* x, int n, int top) {
  const float low = std::min(0.0f, *std::min_element(x, x + n));
  const float high = *std::max_element(x, x + n);
  if (!(high > low)) return {0.0f, -low};
  AffineFit best{(high - low) / static_cast<float>(top), -low};
  double best_error = SquaredError(x, n, best, top);
  for (int step = -4; step <= 4; ++step) {
    const AffineFit start{
        (high - low) / (static_cast<float>(top) + 0.2f * static_cast<float>(step)), -low};
    const AffineFit fit = Refit(x, n, start, top);
    const double error = SquaredError(x, n, fit, top);
    if (error < best_error) {
      best = fit;
      best_error = error;
    }
  }
  return best;
}

// The part that Q4_K and Q5_K share: writes d, dmin and the scales, and the 256 codes 0..top into
// `codes`.
void FitSuperBlock(const float* x, int top, uint8_t* b, uint8_t codes[256]) {
  AffineFit fits[8];
  float largest_scale = 0.0f, largest_min = 0.0f;
  for (int s = 0; s < 8; ++s) {
    fits[s] = FitAffine(x + 32 * s, 32, top);
    largest_scale = std::max(largest_scale, fits[s].scale);
    largest_min = std::max(largest_min, fits[s].min);
  }
  const float d = RoundedToHalf(largest_scale / 63.0f);
  const float dmin = RoundedToHalf(largest_min / 63.0f);
  ScalesAndMins packed;
  for (int s = 0; s < 8; ++s) {
    packed.scale[s] = static_cast<uint8_t>(RoundAndClamp(fits[s].scale * Inverse(d), 0, 63));
    packed.min[s] = static_cast<uint8_t>(RoundAndClamp(fits[s].min * Inverse(dmin), 0, 63));
    const float scale = d * static_cast<float>(packed.scale[s]);
    const float min = dmin * static_cast<float>(packed.min[s]);
    for (int l = 0; l < 32; ++l) {
      const float q = (x[32 * s + l] + min) * Inverse(scale);
      codes[32 * s + l] = static_cast<uint8_t>(RoundAndClamp(q, 0, top));
    }
  }
  StoreHalf(b, d);
  StoreHalf(b + 2, dmin);
  PackScalesAndMins(packed, b + 4);
}

void EncodeQ4_K(const float* x, uint8_t* b) {
  uint8_t codes[256];
  FitSuperBlock(x, 15, b, codes);
  for (int i = 0; i < 128; ++i) {
    const int e = i / 32 * 64 + i % 32;
    b[16 + i] = static_cast<uint8_t>(codes[e] | codes[e + 32] << 4);
  }
}

void EncodeQ5_K(const float* x, uint8_t* b) {
  uint8_t codes[256];
  FitSuperBlock(x, 31, b, codes);
  std::memset(b + 16, 0, 32);
  for (int e = 0; e < 256; ++e) {
    b[16 + e % 32] = static_cast<uint8_t>(b[16 + e % 32] | (codes[e] >> 4) << (e / 32));
  }
  for (int i = 0; i < 128; ++i) {
    const int e = i / 32 * 64 + i % 32;
    b[48 + i] = static_cast<uint8_t>((codes[e] & 15) | (codes[e + 32] & 15) << 4);
  }
}

// The scale for which scale * q, q in -32..31, is closest to the 16 values.
float FitSymmetric(const float* x) {
  float extreme = 0.0f;
  for (int i = 0; i < 16; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (extreme == 0.0f) return 0.0f;
  float best = 0.0f;
  double best_gain = -1.0;
  for (int step = -4; step <= 4; ++step) {
    const float inverse = (-32.0f + 0.1f * static_cast<float>(step)) / extreme;
    if (!std::isfinite(inverse)) continue;
    double sum_qx = 0, sum_qq = 0;
    for (int i = 0; i < 16; ++i) {
      const double q = RoundAndClamp(x[i] * inverse, -32, 31);
      sum_qx += q * x[i];
      sum_qq += q * q;
    }
    // With the best scale sum_qx / sum_qq, the squared error falls by sum_qx^2 / sum_qq.
    if (sum_qq > 0 && sum_qx * sum_qx / sum_qq > best_gain) {
      best_gain = sum_qx * sum_qx / sum_qq;
      best = static_cast<float>(sum_qx / sum_qq);
    }
  }
  return best;
}

void EncodeQ6_K(const float* x, uint8_t* b) {
  float scales[16];
  float extreme = 0.0f;
  for (int s = 0; s < 16; ++s) {
    scales[s] = FitSymmetric(x + 16 * s);
    if (std::fabs(scales[s]) > std::fabs(extreme)) extreme = scales[s];
  }
  const float d = RoundedToHalf(extreme / -128.0f);
  std::memset(b, 0, 210);
  StoreHalf(b + 208, d);
  for (int e = 0; e < 256; ++e) {
    const int scale = RoundAndClamp(scales[e / 16] * Inverse(d), -128, 127);
    b[192 + e / 16] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float inverse = Inverse(d * static_cast<float>(scale));
    const int q = RoundAndClamp(x[e] * inverse, -32, 31) + 32;
    const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
    uint8_t& low = b[half * 64 + quarter % 2 * 32 + l];
    uint8_t& high = b[128 + half * 32 + l];
    low = static_cast<uint8_t>(low | (q & 15) << (quarter / 2 * 4));
    high = static_cast<uint8_t>(high | (q >> 4) << (quarter * 2));
  }
}

using Encoder = void (*)(const float* x, uint8_t* block);

Encoder FindEncoder(DType type) {
  switch (type) {
    case DType::kF32:
      return EncodeF32;
    case DType::kF16:
      return EncodeF16;
    case DType::kBF16:
      return EncodeBF16;
    case DType::kQ8_0:
      return EncodeQ8_0;
    case DType::kQ4_0:
      return EncodeQ4_0;
    case DType::kQ4_K:
      return EncodeQ4_K;
    case DType::kQ5_K:
      return EncodeQ5_K;
    case DType::kQ6_K:
      return EncodeQ6_K;
    default:
      return nullptr;
  }
}

}  // namespace

bool CanQuantize(DType type) { return FindEncoder(type) != nullptr; }

void QuantizeRow(DType type, std::span<const float> values, std::span<std::byte> out) {
  const Encoder encode = FindEncoder(type);
  CHECK(encode != nullptr);
  const DTypeInfo& info = InfoOf(type);
  CHECK(out.size() == static_cast<size_t>(RowBytes(type, static_cast<int64_t>(values.size()))));
  float block[256];
  uint8_t* to = reinterpret_cast<uint8_t*>(out.data());
  for (size_t i = 0; i < values.size();
       i += static_cast<size_t>(info.block_elements), to += info.block_bytes) {
    std::copy_n(values.data() + i, info.block_elements, block);
    if (info.block_elements > 1) {
      for (float& x : std::span(block, static_cast<size_t>(info.block_elements))) {
        if (!std::isfinite(x)) x = 0.0f;
      }
    }
    encode(block, to);
  }
}

}  // namespace millrace
