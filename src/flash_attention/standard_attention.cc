#include <algorithm>
#include <atomic>

#include "base/aligned_buffer.h"
#include "flash_attention/attention.h"
#include "flash_attention/attention_units.h"
#include "flash_attention/kernels.h"

namespace millrace {
namespace {

struct StandardScratch {
  PackedTile packed;
  AlignedBuffer<float> scores, probabilities, output, values;
};

// One (sequence, head): the whole matrices of scores and probabilities. Returns the bytes of those.
int64_t RunHead(const AttentionCall& call, int32_t index, int32_t head) {
  thread_local StandardScratch scratch;
  const AttentionRows& sequence = call.sequences[static_cast<size_t>(index)];
  const int64_t dim = call.head_dim();
  const int64_t rows = sequence.rows;
  scratch.packed.Pack(call, {.sequence = index,
                             .first_row = 0,
                             .rows = rows,
                             .kv_head = head / call.heads_per_kv_head(),
                             .first_head = head,
                             .heads = 1});
  const int64_t blocks = BlocksFor(scratch.packed.end_visible());
  const int64_t columns = blocks * kBlockTokens;
  const AttentionTile tile = scratch.packed.Against(0, blocks);
  scratch.scores.Reserve(static_cast<size_t>(rows * columns));
  scratch.probabilities.Reserve(static_cast<size_t>(rows * columns));
  scratch.output.Reserve(static_cast<size_t>(rows * dim));
  scratch.values.Reserve(static_cast<size_t>(kBlockTokens * dim));
  float* scores = scratch.scores.data();
  float* probabilities = scratch.probabilities.data();
  call.kernels.scores(tile, scores, columns);
  for (int64_t r = 0; r < rows; ++r) {
    call.kernels.probabilities(scores + r * columns, columns, probabilities + r * columns);
  }
  call.kernels.weighted_values(tile, probabilities, columns, scratch.values.data(),
                               scratch.output.data());
  RotateBack(call, scratch.output.data(), rows);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(scratch.output.data() + r * dim, dim,
                call.out.row(sequence.first_row + r) + head * dim);
  }
  return 2 * rows * columns * static_cast<int64_t>(sizeof(float));
}

}  // namespace

int64_t StandardAttention(const AttentionKernels& kernels, ThreadPool& pool, const KvStore& kv,
                          int32_t layer, const AttentionConfig& config,
                          std::span<const AttentionRows> sequences, MatrixView<const float> q,
                          MatrixView<float> out) {
  const AttentionCall call{kernels, kv, layer, config, sequences, q, out};
  CheckAttentionCall(call);
  std::atomic<int64_t> written{0};
  const int64_t units = static_cast<int64_t>(sequences.size()) * config.heads;
  pool.ParallelFor(units, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t index = static_cast<int32_t>(i / config.heads);
      if (sequences[static_cast<size_t>(index)].rows == 0) continue;
      written += RunHead(call, index, static_cast<int32_t>(i % config.heads));
    }
  });
  return written;
}

}  // namespace millrace
