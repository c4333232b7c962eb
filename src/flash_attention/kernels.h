// The table of kernels that AttentionKernelsFor chooses, and the plain data that the kernels work
// on.
//
// Invariant: what a kernel computes for one row depends only on that row, never on the other rows
// of the call. The order of operations of a row is fixed: scores add up over d = 0, 1, ... (bf16:
// 1, 0, 3, 2, ...; q8_0: in integers); a chunk has one maximum; outputs add up over the keys in
// order of position (bf16: 1, 0, 3, 2, ...; q8_0: in integers, of weights rounded to 15 bits of the
// chunk's largest).
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
// They come in the form that goes with the KV type; rows of 8 together.
struct AttentionTile {
  KvType type = KvType::kBf16;        // layouts of keys and values in kv_store.h
  const float* q = nullptr;           // f32:  [groups][D][8]
  const uint16_t* q_pairs = nullptr;  // bf16: [groups][D/2][8][2]
  const int8_t* q_codes = nullptr;    // q8_0: [groups][E/4][8][4], rotated as the keys are,
  const float* q_scales = nullptr;    //       what a code is worth [rows],
  const int32_t* q_sums = nullptr;    //       and the sum of a row's codes [rows]
  int64_t rows = 0;
  int64_t head_dim = 0;                      // D
  int64_t padded_dim = 0;                    // E: D rounded up to a multiple of 16
  float cap = 0.0f;                          // 0: without softcap
  const std::byte* const* keys = nullptr;    // [blocks]
  const std::byte* const* values = nullptr;  // [blocks]
  int64_t blocks = 0;
  // [2 * blocks], or null. What memory is asked for while keys of block i (ahead[i]) and values of
  // block i (ahead[blocks + i]) are read: a block that is read later. For few rows, which pass over
  // a block faster than the next one arrives.
  const std::byte* const* ahead = nullptr;
  // [rows]: the row sees keys begin <= j < end, counted from the first block's first; begin may be
  // negative and end past the blocks. Both rise from row to row.
  const int32_t* begin = nullptr;
  const int32_t* end = nullptr;
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
  // sees. `scratch` [32][D] is for q8_0.
  void (*weighted_values)(const AttentionTile& tile, const float* probabilities, int64_t stride,
                          float* scratch, float* output);
};

namespace flash_attention_internal {

extern const AttentionKernels kScalar;
#if defined(__x86_64__)
extern const AttentionKernels kAvx2;
extern const AttentionKernels kAvxVnni;
extern const AttentionKernels kAvx512;
#endif

}  // namespace flash_attention_internal
}  // namespace millrace
