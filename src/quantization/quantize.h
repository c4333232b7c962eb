// Floats to the block formats of GGUF: what the converter and the tests use.
//
// Invariant: every written block decodes (block_formats.h) to finite values if the input is finite
// and within the format's range; the error of an element is at most about one step of its
// sub-block's grid. Each format's scales minimise the weighted squared error: a grid of candidates
// per sub-block, least squares for each (fit_kernels.h), then the integer scales of a super-block
// by trying the neighbours, and its own scale by least squares again. The weight of an element is
// its magnitude plus the block's deviation, times the importance of its column.
#pragma once

#include <cstddef>
#include <span>

#include "base/dtype.h"
#include "quantization/fit_kernels.h"

namespace millrace {

// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4.
bool CanQuantize(DType type);

// `values` holds one or several rows, a whole number of blocks, and `out` has RowBytes(type,
// values.size()) bytes (CHECKed, as is CanQuantize). `importance` is empty or as long as a row (of
// which `values` then holds a whole number): how much an error in each column matters, >= 0. A
// value that is not finite is taken as 0 in the integer formats. The tables of `kernels` all give
// the same bytes.
void QuantizeRows(const FitKernels& kernels, DType type, std::span<const float> values,
                  std::span<const float> importance, std::span<std::byte> out);

// The same by the scalar twin, without importance.
void QuantizeRow(DType type, std::span<const float> values, std::span<std::byte> out);

}  // namespace millrace
