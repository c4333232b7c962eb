// The kernels of attention, written once over F32x16 and the dot products of dots_*.h. Included at
// the end of attention_{scalar,avx2,avxvnni,avx512}.cc, after those of that instruction set and a
// struct `Tuning` with
//   kScoreRows, kScoreVectors  rows (divides 8) and vectors of 16 keys (1 or 2) of a register tile
//   of scores;
//   kValueRows, kValueVectors  rows and vectors of 16 dimensions of a register tile of outputs;
//   kByteVectors  the same of outputs summed in integers.
// These change the order between rows and keys, never that of one output's sum. Defines kKernels.
#pragma once

#include "base/f32x16_math.h"
#include "flash_attention/flash_body.h"
#include "flash_attention/kernels.h"
#include "flash_attention/standard_body.h"

namespace millrace {
namespace {

constexpr AttentionKernels kKernels = {
    .chunk = Chunk,
    .merge = Merge,
    .finish = Finish,
    .scores = Scores,
    .probabilities = Probabilities,
    .weighted_values = WeightedValues,
};

}  // namespace
}  // namespace millrace
