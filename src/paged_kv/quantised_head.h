// Eight-bit keys, values and queries: a head is rotated by a Hadamard matrix over blocks of its
// dimension, which spreads the outliers that some models put into a few dimensions over all of
// them, so that one scale per token and head serves (Ashkboos et al. 2024, "QuaRot", section 4).
//
// Invariant: the rotation is orthogonal and its own inverse, so dot products stay as they are up to
// rounding; the order of operations is fixed, so codes are the same on every instruction set.
#pragma once

#include <cstdint>

namespace millrace {

inline constexpr int32_t PaddedToSixteen(int32_t head_dim) { return (head_dim + 15) / 16 * 16; }

// x [dim] in place, dim >= 1. The blocks are of the largest power of two that divides dim.
void RotateHead(float* x, int32_t dim);

// Rotates a copy of x [dim] and fills codes [PaddedToSixteen(dim)] with integers from -127 to 127,
// zeros past dim. Returns what a code of 1 is worth; NaN, with codes of 0, where an element is
// infinite or NaN.
float QuantiseHead(const float* x, int32_t dim, int8_t* codes);

}  // namespace millrace
