// The table of kernels that AttentionKernelsFor chooses, and the plain data that the kernels work
// on.
//
// Invariant: what a kernel computes for one row depends only on that row, never on the other rows
// of the call. The order of operations of a row is fixed: scores add up over d = 0, 1, ...; keys
// are taken 32 at a time; the maximum rises once per 32; outputs add up over the keys in order of
// position.
#pragma once

#include <cstddef>
#include <cstdint>

#include "flash_attention/attention.h"

namespace millrace {

inline constexpr int32_t kAttentionChunk = 256;  // positions with one (max, sum, output)
inline constexpr int32_t kChunkBlocks = kAttentionChunk / kBlockTokens;
inline constexpr int32_t kRowGroup = 8;  // rows packed together, see PackQueries

// Query rows of one KV head, and one chunk of its keys and values. Scores are in units of log2, so
// queries come multiplied by scale * log2(e); with softcap c by scale / c, and `cap` = c * log2(e).
struct AttentionTile {
  const float* q = nullptr;  // [ceil(rows / 8)][D][8]
  int64_t rows = 0;
  int64_t head_dim = 0;                      // D
  bool bf16 = false;                         // KV in bf16, else f32; layouts in kv_store.h
  float cap = 0.0f;                          // 0: without softcap
  const std::byte* const* keys = nullptr;    // [blocks]
  const std::byte* const* values = nullptr;  // [blocks]
  int64_t blocks = 0;
  const int32_t* begin =
      nullptr;  // [rows]: the row sees keys begin <= j < end, counted from the first block's first;
  const int32_t* end = nullptr;  // begin may be negative and end past the blocks
};

// A softmax-weighted sum in the making: per row the maximum score, the sum of 2^(score - maximum)
// and the so weighted values. A row that has seen nothing has sum 0, and its maximum and output are
// not read.
struct AttentionState {
  float* max = nullptr;     // [rows]
  float* sum = nullptr;     // [rows]
  float* output = nullptr;  // [rows][D]
};

struct AttentionKernels {
  // Flash: overwrites `state` with the result of this tile's chunk alone; at most kChunkBlocks
  // blocks.
  void (*chunk)(const AttentionTile& tile, const AttentionState& state);
  // Flash: total <- total and then part, for each row.
  void (*merge)(const AttentionState& total, const AttentionState& part, int64_t rows,
                int64_t head_dim);
  // Flash: out[D] = output / sum, or zeros where sum is 0.
  void (*finish)(const float* output, float sum, int64_t head_dim, float* out);

  // Standard, step 1: scores [rows][stride]; masked ones are -infinity. Writes all columns of all
  // blocks.
  void (*scores)(const AttentionTile& tile, float* scores, int64_t stride);
  // Standard, step 2: probabilities [count] of one row's scores; zeros for a row of -infinity only.
  void (*probabilities)(const float* scores, int64_t count, float* out);
  // Standard, step 3: output [rows][D] = the sum of probability * value over the keys that a row
  // sees.
  void (*weighted_values)(const AttentionTile& tile, const float* probabilities, int64_t stride,
                          float* output);
};

namespace flash_attention_internal {

extern const AttentionKernels kScalar;
#if defined(__x86_64__)
extern const AttentionKernels kAvx2;
extern const AttentionKernels kAvx512;
#endif

}  // namespace flash_attention_internal
}  // namespace millrace
