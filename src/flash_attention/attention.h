// Attention of a batch over paged KV, causal or (encoders) not: tiled flash attention, and standard
// attention beside it to compare with.
//
// Invariant (bit-exactness): the result of one query row depends only on that row, its position and
// the keys and values at positions it sees. Keys are walked in chunks of 256 positions counted from
// position 0, each with a fresh (max, sum, output), merged in order of position; so it does not
// matter whether the row was decoded alone or prefilled in a tile, how the prompt was chunked,
// which blocks hold the keys, or how many threads worked. Source: FlashAttention-2 (Dao 2023),
// section 3.1; PagedAttention (Kwon et al. 2023), section 4.1.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/id.h"
#include "base/matrix.h"
#include "base/thread_pool.h"
#include "paged_kv/kv_store.h"
#include "simd/isa.h"

namespace millrace {

// What a query row may see of its sequence.
enum class AttentionMask {
  kCausal,  // its own position and those before
  kAll,     // every position, up to the last of the rows; the call must hold all of them
};

struct AttentionConfig {
  int32_t heads = 0;   // query heads; a multiple of the KV heads (grouped queries share K and V)
  float scale = 1.0f;  // of the scores, usually 1/sqrt(D)
  std::optional<float> softcap;  // s -> c * tanh(s / c), before the mask
  std::optional<int32_t>
      window;  // query i sees keys j with i - window < j <= i; without: all j <= i
  AttentionMask mask = AttentionMask::kCausal;  // kAll: without a window
};

// The rows of one sequence in the batch. Keys and values up to first_position + rows - 1 are
// already in the KvStore.
struct AttentionRows {
  int64_t first_row = 0;  // in the matrices q and out
  int64_t rows = 0;
  int32_t first_position = 0;
  std::span<const BlockId> block_table;  // block i holds positions [32 i, 32 i + 32)
};

struct AttentionKernels;  // a table of function pointers for one Isa
const AttentionKernels& AttentionKernelsFor(Isa isa);

// q and out: [total rows, heads * D]; row r of a sequence is position first_position + r. out is
// overwritten. Returns the bytes of intermediate results that threads write for each other: the
// states of sequences that are split along their keys, and never a score or a probability.
int64_t FlashAttention(const AttentionKernels& kernels, ThreadPool& pool, const KvStore& kv,
                       int32_t layer, const AttentionConfig& config,
                       std::span<const AttentionRows> sequences, MatrixView<const float> q,
                       MatrixView<float> out);

// The textbook: scores and probabilities of every query against every key are written to memory.
// Returns the bytes of intermediate results written. Differs from flash attention by rounding only;
// bit-exact in the same sense.
int64_t StandardAttention(const AttentionKernels& kernels, ThreadPool& pool, const KvStore& kv,
                          int32_t layer, const AttentionConfig& config,
                          std::span<const AttentionRows> sequences, MatrixView<const float> q,
                          MatrixView<float> out);

}  // namespace millrace
