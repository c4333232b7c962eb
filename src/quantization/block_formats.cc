#include "quantization/block_formats.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "quantization/matmul_kernels.h"

namespace millrace {
namespace {

uint16_t Load16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
uint32_t Load32(const uint8_t* p) { return Load16(p) | static_cast<uint32_t>(Load16(p + 2)) << 16; }
float LoadHalf(const uint8_t* p) { return F16ToF32(Load16(p)); }

void DecodeF32(const uint8_t* b, float* y) { std::memcpy(y, b, sizeof(float)); }
void DecodeF16(const uint8_t* b, float* y) { *y = LoadHalf(b); }
void DecodeBF16(const uint8_t* b, float* y) { *y = Bf16ToF32(Load16(b)); }

void DecodeQ4_0(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  for (int j = 0; j < 16; ++j) {
    const int q = b[2 + j];
    y[j] = static_cast<float>((q & 15) - 8) * d;
    y[j + 16] = static_cast<float>((q >> 4) - 8) * d;
  }
}

void DecodeQ4_1(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), m = LoadHalf(b + 2);
  for (int j = 0; j < 16; ++j) {
    const int q = b[4 + j];
    y[j] = static_cast<float>(q & 15) * d + m;
    y[j + 16] = static_cast<float>(q >> 4) * d + m;
  }
}

// The fifth bits of a Q5_0 or Q5_1 block: bit j belongs to element j.
int FifthBit(uint32_t high, int j) { return static_cast<int>(high >> j & 1u) << 4; }

void DecodeQ5_0(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  const uint32_t high = Load32(b + 2);
  for (int j = 0; j < 16; ++j) {
    const int q = b[6 + j];
    y[j] = static_cast<float>(((q & 15) | FifthBit(high, j)) - 16) * d;
    y[j + 16] = static_cast<float>(((q >> 4) | FifthBit(high, j + 16)) - 16) * d;
  }
}

void DecodeQ5_1(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), m = LoadHalf(b + 2);
  const uint32_t high = Load32(b + 4);
  for (int j = 0; j < 16; ++j) {
    const int q = b[8 + j];
    y[j] = static_cast<float>((q & 15) | FifthBit(high, j)) * d + m;
    y[j + 16] = static_cast<float>((q >> 4) | FifthBit(high, j + 16)) * d + m;
  }
}

void DecodeQ8_0(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(static_cast<int8_t>(b[2 + j])) * d;
}

void DecodeQ2_K(const uint8_t* b, float* y) {
  const uint8_t* scales = b;
  const uint8_t* qs = b + 16;
  const float d = LoadHalf(b + 80), dmin = LoadHalf(b + 82);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, shift = e % 128 / 32 * 2;
    const int q = qs[half * 32 + e % 32] >> shift & 3;
    const float scale = d * static_cast<float>(scales[e / 16] & 15);
    const float min = dmin * static_cast<float>(scales[e / 16] >> 4);
    y[e] = scale * static_cast<float>(q) - min;
  }
}

void DecodeQ3_K(const uint8_t* b, float* y) {
  const uint8_t* high = b;
  const uint8_t* qs = b + 32;
  const uint8_t* s = b + 96;
  const float d = LoadHalf(b + 108);
  float scale[16];
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
    const int top = s[8 + i % 4] >> (i / 4 * 2) & 3;
    scale[i] = d * static_cast<float>((low | top << 4) - 32);
  }
  for (int e = 0; e < 256; ++e) {
    const int q = qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
    const int missing = high[e % 32] >> (e / 32) & 1 ? 0 : 4;
    y[e] = scale[e / 16] * static_cast<float>(q - missing);
  }
}

void DecodeQ4_K(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), dmin = LoadHalf(b + 2);
  const ScalesAndMins s = UnpackScalesAndMins(b + 4);
  for (int e = 0; e < 256; ++e) {
    const int block = e / 32;
    const int q = b[16 + block / 2 * 32 + e % 32] >> (block % 2 * 4) & 15;
    y[e] = d * static_cast<float>(s.scale[block]) * static_cast<float>(q) -
           dmin * static_cast<float>(s.min[block]);
  }
}

void DecodeQ5_K(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), dmin = LoadHalf(b + 2);
  const ScalesAndMins s = UnpackScalesAndMins(b + 4);
  for (int e = 0; e < 256; ++e) {
    const int block = e / 32;
    const int low = b[48 + block / 2 * 32 + e % 32] >> (block % 2 * 4) & 15;
    const int q = low | (b[16 + e % 32] >> block & 1) << 4;
    y[e] = d * static_cast<float>(s.scale[block]) * static_cast<float>(q) -
           dmin * static_cast<float>(s.min[block]);
  }
}

void DecodeQ6_K(const uint8_t* b, float* y) {
  const float d = LoadHalf(b + 208);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
    const int low = b[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
    const int q = low | (b[128 + half * 32 + l] >> (quarter * 2) & 3) << 4;
    const float scale = d * static_cast<float>(static_cast<int8_t>(b[192 + e / 16]));
    y[e] = scale * static_cast<float>(q - 32);
  }
}

void DecodeIQ4_NL(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kIq4Values[b[2 + j] & 15]);
    y[j + 16] = d * static_cast<float>(kIq4Values[b[2 + j] >> 4]);
  }
}

void DecodeIQ4_XS(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  const uint32_t scales_high = Load16(b + 2);
  for (int block = 0; block < 8; ++block) {
    const int low = b[4 + block / 2] >> (block % 2 * 4) & 15;
    const int ls = low | static_cast<int>(scales_high >> (2 * block) & 3u) << 4;
    const float scale = d * static_cast<float>(ls - 32);
    const uint8_t* qs = b + 8 + block * 16;
    for (int j = 0; j < 16; ++j) {
      y[block * 32 + j] = scale * static_cast<float>(kIq4Values[qs[j] & 15]);
      y[block * 32 + j + 16] = scale * static_cast<float>(kIq4Values[qs[j] >> 4]);
    }
  }
}

void DecodeMXFP4(const uint8_t* b, float* y) {
  const float d = std::ldexp(1.0f, b[0] - 128);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(kMxfp4Values[b[1 + j] & 15]) * d;
    y[j + 16] = static_cast<float>(kMxfp4Values[b[1 + j] >> 4]) * d;
  }
}

using Decoder = void (*)(const uint8_t* block, float* y);

Decoder FindDecoder(DType type) {
  switch (type) {
    case DType::kF32:
      return DecodeF32;
    case DType::kF16:
      return DecodeF16;
    case DType::kBF16:
      return DecodeBF16;
    case DType::kQ4_0:
      return DecodeQ4_0;
    case DType::kQ4_1:
      return DecodeQ4_1;
    case DType::kQ5_0:
      return DecodeQ5_0;
    case DType::kQ5_1:
      return DecodeQ5_1;
    case DType::kQ8_0:
      return DecodeQ8_0;
    case DType::kQ2_K:
      return DecodeQ2_K;
    case DType::kQ3_K:
      return DecodeQ3_K;
    case DType::kQ4_K:
      return DecodeQ4_K;
    case DType::kQ5_K:
      return DecodeQ5_K;
    case DType::kQ6_K:
      return DecodeQ6_K;
    case DType::kIQ4_NL:
      return DecodeIQ4_NL;
    case DType::kIQ4_XS:
      return DecodeIQ4_XS;
    case DType::kMXFP4:
      return DecodeMXFP4;
    default:
      return nullptr;
  }
}

}  // namespace

ScalesAndMins UnpackScalesAndMins(const uint8_t bytes[12]) {
  ScalesAndMins s;
  for (int j = 0; j < 4; ++j) {
    s.scale[j] = bytes[j] & 63;
    s.min[j] = bytes[j + 4] & 63;
    s.scale[j + 4] = static_cast<uint8_t>((bytes[j + 8] & 15) | (bytes[j] >> 6) << 4);
    s.min[j + 4] = static_cast<uint8_t>(bytes[j + 8] >> 4 | (bytes[j + 4] >> 6) << 4);
  }
  return s;
}

void PackScalesAndMins(const ScalesAndMins& s, uint8_t bytes[12]) {
  for (int j = 0; j < 4; ++j) {
    bytes[j] = static_cast<uint8_t>(s.scale[j] | (s.scale[j + 4] >> 4) << 6);
    bytes[j + 4] = static_cast<uint8_t>(s.min[j] | (s.min[j + 4] >> 4) << 6);
    bytes[j + 8] = static_cast<uint8_t>((s.scale[j + 4] & 15) | (s.min[j + 4] & 15) << 4);
  }
}

bool CanDequantize(DType type) { return FindDecoder(type) != nullptr; }

void DequantizeBlocks(DType type, std::span<const std::byte> blocks, std::span<float> out) {
  const Decoder decode = FindDecoder(type);
  CHECK(decode != nullptr);
  const DTypeInfo& info = InfoOf(type);
  const size_t count = out.size() / static_cast<size_t>(info.block_elements);
  CHECK(out.size() % static_cast<size_t>(info.block_elements) == 0);
  CHECK(blocks.size() == count * static_cast<size_t>(info.block_bytes));
  const uint8_t* from = reinterpret_cast<const uint8_t*>(blocks.data());
  float* to = out.data();
  for (size_t i = 0; i < count; ++i, from += info.block_bytes, to += info.block_elements) {
    decode(from, to);
  }
}

}  // namespace millrace
