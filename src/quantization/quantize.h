// Floats to the block formats of GGUF: what a converter and the tests use.
//
// Invariant: every written block decodes (block_formats.h) to finite values if the input is finite
// and within the format's range; the error of an element is at most about one step of its
// sub-block's grid. Q8_0 and Q4_0 are the plain roundings that ggml defines. The K formats fit
// scale and minimum of each sub-block by least squares over a small grid of candidate scales, then
// quantise those to 6 (Q6_K: 8) bits.
#pragma once

#include <cstddef>
#include <span>

#include "base/dtype.h"

namespace millrace {

// F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K.
bool CanQuantize(DType type);

// `values` is a whole number of blocks and `out` has RowBytes(type, values.size()) bytes (CHECKed,
// as is CanQuantize). A value that is not finite is taken as 0 in the integer formats.
void QuantizeRow(DType type, std::span<const float> values, std::span<std::byte> out);

}  // namespace millrace
