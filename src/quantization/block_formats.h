// The block formats of GGUF: bytes of a file to floats, the reference for everything else in this
// module.
//
// Invariant: the floats are exactly those that the format's definition gives in IEEE single
// precision, in the order of operations of the original implementation (ggml), so a file means the
// same here as where it was written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace millrace {

// F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4.
bool CanDequantize(DType type);

// `blocks` holds out.size() elements of `type`, a whole number of blocks. CHECKs CanDequantize and
// both sizes.
void DequantizeBlocks(DType type, std::span<const std::byte> blocks, std::span<float> out);

// The 6-bit scale and minimum of the eight sub-blocks of a Q4_K or Q5_K block, from its 12 scale
// bytes.
struct ScalesAndMins {
  uint8_t scale[8];
  uint8_t min[8];
};
ScalesAndMins UnpackScalesAndMins(const uint8_t bytes[12]);
void PackScalesAndMins(const ScalesAndMins& unpacked, uint8_t bytes[12]);

}  // namespace millrace
